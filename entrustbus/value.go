package entrustbus

import "time"

// Bounds of what is read before anything is known about it. They leave room for keys of later versions.
const (
	maxDepth     = 8    // maps and lists inside each other
	maxMapKeys   = 256  // of one map
	maxValues    = 4096 // of one message, keys not counted
	maxKeyLength = 1024
)

// value is one value of either encoding. Which field holds it depends on kind.
type value struct {
	kind   valueKind
	text   []byte // kindText, kindBytes; may alias the message
	number int64
	flag   bool
	time   time.Time
	list   []value
	fields map[string]value
	torn   bool // a string, or a map with a key, that has a character in it which is none
}

type valueKind uint8

const (
	kindNil valueKind = iota
	kindBool
	kindInt
	kindHuge // an integer beyond int64
	kindFloat
	kindText
	kindBytes
	kindTime
	kindList
	kindMap
)

func (k valueKind) String() string {
	return [...]string{
		"nil", "a boolean", "an integer", "an integer beyond 64 bits", "a floating-point number", "a string", "bytes",
		"a timestamp", "a list", "a map",
	}[k]
}

// budget counts down what one message may still hold, so that no nesting of allowed maps adds up to a large one.
type budget int

func (b *budget) take() error {
	if *b--; *b < 0 {
		return errBody("holds too many values")
	}
	return nil
}

// put adds a key to a map that is being read.
func put(fields map[string]value, key string, v value) error {
	if _, twice := fields[key]; twice {
		return errTwice(key)
	}
	fields[key] = v
	return nil
}

func errBody(problem string) *FieldError {
	return &FieldError{Field: "body", Problem: problem, Undecodable: true}
}

// errTwice names the key only if it looks like one of the contract's: any other could be anything.
func errTwice(key string) *FieldError {
	err := errBody("has the same key twice")
	if ValidToken(key) {
		err.Field, err.Problem = key, "is there twice"
	}
	return err
}

// readDocument reads the one map that a message is.
func readDocument(enc Encoding, data []byte) (*fieldReader, error) {
	switch {
	case len(data) == 0:
		return nil, errBody("is empty")
	case len(data) > MaxBodyBytes:
		return nil, errBody("is longer than 1 MiB")
	}
	var v value
	var err error
	if enc == EncodingJSON {
		v, err = readJSON(data)
	} else {
		v, err = readMsgpack(data)
	}
	if err != nil {
		return nil, err
	}
	if v.kind != kindMap {
		return nil, errBody("is not a map but " + v.kind.String())
	}
	return &fieldReader{fields: v.fields, json: enc == EncodingJSON}, nil
}
