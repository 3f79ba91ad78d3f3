package terminal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// ReadInput reads a file, or standard input for "-", of most bytes at most, and says what
// it is called in messages. Errors name it.
func ReadInput(path string, stdin io.Reader, most int) (data []byte, source string, err error) {
	if path == "-" {
		if Is(stdin) {
			return nil, "", usage.WithHint(usage.Errorf("standard input is a terminal"), "pipe the input into it, or name a file")
		}
		data, err = io.ReadAll(io.LimitReader(stdin, int64(most)+1))
		source = "standard input"
	} else {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			data, err = io.ReadAll(io.LimitReader(f, int64(most)+1))
			_ = f.Close() // only read
		}
		source = path
	}
	switch {
	case err != nil:
		if file, ok := errors.AsType[*fs.PathError](err); ok {
			err = file.Err // the message has the path
		}
		err = fmt.Errorf("reading %s: %w", source, err)
		if errors.Is(err, fs.ErrNotExist) {
			err = usage.WithHint(err, "names are relative to the working folder; - is standard input")
		}
		return nil, "", err
	case len(data) > most:
		return nil, "", fmt.Errorf("reading %s: larger than %d MiB", source, most>>20)
	}
	return data, source, nil
}
