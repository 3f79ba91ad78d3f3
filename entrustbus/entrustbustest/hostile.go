// Package entrustbustest holds messages that no side of the bus may fall for, and certificate requests to test with.
package entrustbustest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// HostileMessage is one message that must be refused: by its subject, by its headers or by its body.
type HostileMessage struct {
	// Name says what is wrong, unique in the corpus.
	Name string
	// Subject is a full subject with the default prefix. Its producer is "hostile" unless that is what is wrong.
	Subject string
	// Header may be nil.
	Header nats.Header
	// Body is at most 1 MiB, so that a server with default limits takes it.
	Body []byte
}

// Hostile makes the corpus: more than 200 messages, each with an id of its own where it has a readable one. It makes new
// keys and certificate requests each time; everything else is the same each time. It panics if it cannot make them.
func Hostile() []HostileMessage {
	c := &corpus{good: newMaterial()}
	c.wrongSubjects()
	c.wrongHeaders()
	c.brokenMsgpack()
	c.brokenJSON()
	c.wrongTypes()
	c.wrongIDs()
	c.wrongVersions()
	c.wrongCSRs()
	c.wrongNames()
	c.wrongNumbers()
	c.wrongDetails()
	c.wrongLabels()
	c.wrongSerials()
	c.wrongTexts()
	c.wrongOrders()
	return c.messages
}

// fields is the content of a request before it is encoded.
type fields map[string]any

// with is a copy with these keys changed.
func (f fields) with(change fields) fields {
	out := maps.Clone(f)
	maps.Copy(out, change)
	return out
}

// without is a copy that lacks these keys.
func (f fields) without(keys ...string) fields {
	out := maps.Clone(f)
	for _, key := range keys {
		delete(out, key)
	}
	return out
}

type corpus struct {
	good     material
	messages []HostileMessage
}

// id is the id of the next message.
func (c *corpus) id() string { return fmt.Sprintf("hostile-%d", len(c.messages)) }

// valid is a request of this kind with nothing wrong.
func (c *corpus) valid(kind entrustbus.Kind) fields {
	f := fields{"id": c.id()}
	switch kind {
	case entrustbus.KindIssue:
		f["csr_pem"] = c.good.csrPEM
	case entrustbus.KindRevoke:
		f["serial"] = "01ab"
	case entrustbus.KindTrack:
		f["tracking_id"] = "track-1"
	case entrustbus.KindCancel:
		f["order"] = "another-order"
	}
	return f
}

func (c *corpus) add(name, subject string, header nats.Header, body []byte) {
	c.messages = append(c.messages, HostileMessage{Name: name, Subject: subject, Header: header, Body: body})
}

func (c *corpus) addRaw(name string, kind entrustbus.Kind, enc entrustbus.Encoding, body []byte) {
	c.add(fmt.Sprintf("%s %s: %s", enc, kind, name), entrustbus.Subjects{}.Request("hostile", kind),
		nats.Header{entrustbus.HeaderContentType: {enc.ContentType()}}, body)
}

// addBoth adds the request in both encodings; change is laid over a valid request, once with each id.
func (c *corpus) addBoth(name string, kind entrustbus.Kind, change fields) {
	for _, enc := range []entrustbus.Encoding{entrustbus.EncodingMsgpack, entrustbus.EncodingJSON} {
		c.addRaw(name, kind, enc, encode(enc, c.valid(kind).with(change)))
	}
}

func encode(enc entrustbus.Encoding, f fields) []byte {
	if enc == entrustbus.EncodingJSON {
		return must(json.Marshal(f))
	}
	var p packed
	p.mapLen(len(f))
	for _, key := range slices.Sorted(maps.Keys(f)) {
		p.value(key)
		p.value(f[key])
	}
	return p
}

// packed is MessagePack in the making, right or wrong.
type packed []byte

func (p *packed) raw(b ...byte)   { *p = append(*p, b...) }
func (p *packed) value(value any) { p.raw(must(msgpack.Marshal(value))...) }

// mapLen is a map16 header: what follows it must be that many pairs.
func (p *packed) mapLen(n int) { p.raw(0xde, byte(n>>8), byte(n)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("entrustbustest: %v", err))
	}
	return v
}
