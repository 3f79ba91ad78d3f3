package entrustbustest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

const (
	msgpackEncoding = entrustbus.EncodingMsgpack
	jsonEncoding    = entrustbus.EncodingJSON
	issue           = entrustbus.KindIssue
	revoke          = entrustbus.KindRevoke
	track           = entrustbus.KindTrack
	cancel          = entrustbus.KindCancel

	mebibyte = 1 << 20
)

func (c *corpus) wrongSubjects() {
	for _, row := range []struct{ name, subject string }{
		{"producer with a dollar sign", "entrust.request.a$b.issue"},
		{"producer with a slash", "entrust.request.a/b.issue"},
		{"producer with a byte order mark", "entrust.request.\ufeffa.issue"},
		{"producer of 65 letters", "entrust.request." + strings.Repeat("a", 65) + ".issue"},
		{"producer of 1 KiB", "entrust.request." + strings.Repeat("a", 1024) + ".revoke"},
		{"mistyped kind", "entrust.request.hostile.isue"},
		{"kind in capitals", "entrust.request.hostile.ISSUE"},
		{"a kind of operators", "entrust.request.hostile.complete"},
		{"a token too many", "entrust.request.hostile.issue.now"},
		{"a token too few", "entrust.request.issue"},
	} {
		c.add("subject: "+row.name, row.subject, nil, encode(msgpackEncoding, c.valid(issue)))
	}
}

func (c *corpus) wrongHeaders() {
	for _, contentType := range []string{
		"text/plain", "application/xml", "application/cbor", "application/json; charset=utf-16", "json", "msgpack",
		"application/json, application/msgpack", "application/json; charset", "application/json\r\nX: y",
		"application/msgpack\nNats-Msg-Id: other", "/", ";", "\x00", strings.Repeat("a", 4096), "application/" + strings.Repeat("json", 1000),
	} {
		body := encode(jsonEncoding, c.valid(issue))
		c.add(fmt.Sprintf("Content-Type %.40q", contentType), entrustbus.Subjects{}.Request("hostile", issue),
			nats.Header{entrustbus.HeaderContentType: {contentType}}, body)
	}
	c.addRaw("declared as JSON", issue, jsonEncoding, encode(msgpackEncoding, c.valid(issue)))
	c.addRaw("declared as MessagePack", issue, msgpackEncoding, encode(jsonEncoding, c.valid(issue)))
	c.add("no Content-Type, JSON list", entrustbus.Subjects{}.Request("hostile", issue), nil, []byte(`[{"id":"a"}]`))
	c.add("no Content-Type, text", entrustbus.Subjects{}.Request("hostile", issue), nil, []byte("hello"))
	c.add("no Content-Type, nothing", entrustbus.Subjects{}.Request("hostile", issue), nil, nil)
}

func (c *corpus) brokenMsgpack() {
	whole := encode(msgpackEncoding, fields{"id": "hostile-cut", "csr_pem": c.good.csrPEM, "labels": map[string]string{"a": "b"}})
	for i := range 16 {
		cut := 1 + i*(len(whole)-2)/15
		c.addRaw(fmt.Sprintf("cut to %d/15", i), issue, msgpackEncoding, whole[:cut])
	}

	// A cancel request is the smallest one: what follows is the only thing wrong with it.
	raw := func(name string, parts ...[]byte) { c.addRaw(name, cancel, msgpackEncoding, bytes.Join(parts, nil)) }
	id := func(more ...byte) []byte { // a map of so many pairs more, one unless told: they follow
		if len(more) == 0 {
			more = []byte{1}
		}
		p := packed{0x82 + more[0]}
		p.value("id")
		p.value(c.id())
		p.value("order")
		p.value("another-order")
		return p
	}
	whole = encode(msgpackEncoding, c.valid(cancel).without("id"))
	key := func(s string) []byte {
		var p packed
		p.value(s)
		return p
	}
	raw("bytes behind the map", encode(msgpackEncoding, c.valid(cancel)), []byte{0})
	raw("a second map", encode(msgpackEncoding, c.valid(cancel)), whole)
	raw("nil", []byte{0xc0})
	raw("the unused code", []byte{0xc1})
	raw("the unused code as a value", id(), key("x"), []byte{0xc1})
	raw("an integer", []byte{0x2a})
	raw("a string", key("issue"))
	raw("a list of a map", []byte{0x91}, whole)
	raw("an empty map", []byte{0x80})
	raw("a map of 2³²−1 pairs by its header", []byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	raw("a map of 65535 pairs by its header", []byte{0xde, 0xff, 0xff})
	raw("a list of 2³²−1 by its header", id(), key("x"), []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	raw("a string of 4 GiB by its header", id(), key("x"), []byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'a'})
	raw("bytes of 4 GiB by their header", id(), key("x"), []byte{0xc6, 0xff, 0xff, 0xff, 0xff, 0})
	raw("an extension of 4 GiB by its header", id(), key("x"), []byte{0xc9, 0xff, 0xff, 0xff, 0xff, 0xff})
	raw("a map inside of 2³¹ pairs by its header", id(), key("x"), []byte{0xdf, 0x80, 0, 0, 0})
	raw("1 MiB of lists inside each other", bytes.Repeat([]byte{0x91}, mebibyte))
	raw("1 MiB of maps inside each other", bytes.Repeat([]byte{0x81, 0xa1, 'a'}, mebibyte/3))
	raw("order twice", id(), key("order"), key("other"))
	raw("an extension as order", []byte("\x82"), key("id"), key(c.id()), key("order"), []byte{0xd4, 0x05, 0})
	raw("a timestamp as order", []byte("\x82"), key("id"), key(c.id()), key("order"), []byte{0xd6, 0xff, 0, 0, 0, 1})
	raw("no UTF-8 as order", []byte("\x82"), key("id"), key(c.id()), key("order"), []byte{0xa2, 0xc3, 0x28})
	raw("an integer as key of labels", id(), key("labels"), []byte{0x81, 0x01, 0xa1, 'a'})
	raw("lists inside each other under labels", id(), key("labels"), bytes.Repeat([]byte{0x91}, 1000), []byte{0})
	raw("1 MiB of nils under labels", id(), key("labels"), []byte{0xdd, 0, 0x0f, 0xf0, 0}, make([]byte, 0x0ff000))
	raw("id twice", id(), key("id"), key("other"))
	raw("a label twice", id(), key("labels"), []byte{0x82}, key("a"), key("b"), key("a"), key("c"))
	raw("random bytes", []byte{0x9d, 0x1f, 0x4b, 0xe0, 0x77, 0x03, 0xc8, 0xaa, 0x10})
	raw("1 MiB of zeros", make([]byte, mebibyte))
	raw("1 MiB of 0xff", bytes.Repeat([]byte{0xff}, mebibyte))
}

func (c *corpus) brokenJSON() {
	for _, row := range []struct{ name, body string }{
		{"nothing", ""},
		{"blanks", " \n\t "},
		{"null", "null"},
		{"a list", `[]`},
		{"a number", "1"},
		{"a string", `"issue"`},
		{"an empty object", `{}`},
		{"cut", `{"id":"cut","csr_pem":"-----BEGIN`},
		{"cut behind a key", `{"id"`},
		{"cut behind a colon", `{"id":`},
		{"no closing brace", `{"id":"open"`},
		{"a comma too many", `{"id":"a","order":"b",}`},
		{"no comma", `{"id":"a" "order":"b"}`},
		{"no colon", `{"id":"a","order" "b"}`},
		{"a key without quotes", `{id:"a","order":"b"}`},
		{"single quotes", `{'id':'a','order':'b'}`},
		{"a comment", `{"id":"a","order":"b"/* no */}`},
		{"NaN", `{"id":"a","order":"b","x":NaN}`},
		{"a hexadecimal number", `{"id":"a","order":"b","x":0x10}`},
		{"not UTF-8", "{\"id\":\"a\",\"order\":\"\xc3\x28\"}"},
		{"order twice", `{"id":"a","order":"b","order":"c"}`},
		{"200,000 labels in a list", `{"id":"a","order":"b","labels":[` + strings.Repeat("0,", 200_000) + `0]}`},
		{"text behind it", `{"id":"a","order":"b"} x`},
		{"another object behind it", `{"id":"a","order":"b"}{"id":"b"}`},
		{"a bracket behind it", `{"id":"a","order":"b"}]`},
		{"a NUL behind it", "{\"id\":\"a\",\"order\":\"b\"}\x00"},
		{"a byte order mark before it", "\ufeff{\"id\":\"a\"}"},
		{"a newline inside a string", "{\"id\":\"a\",\"order\":\"b\",\"x\":\"a\nb\"}"},
		{"an escape that is none", `{"id":"a","order":"b","x":"\q"}`},
		{"id twice", `{"id":"a","order":"b","id":"c"}`},
		{"id twice, once escaped", `{"id":"a","order":"b","\u0069d":"c"}`},
		{"a label twice", `{"id":"a","order":"b","labels":{"k":"1","k":"2"}}`},
		{"UTF-16", "\xff\xfe{\x00\"\x00i\x00d\x00"},
		{"ID in capitals only", `{"ID":"a","Csr_Pem":"b"}`},
		{"deep lists", `{"id":"a","order":"b","x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`},
		{"deep objects", `{"id":"a","order":"b","x":` + strings.Repeat(`{"a":`, 50_000) + "1" + strings.Repeat("}", 50_000) + `}`},
		{"1 MiB of opening brackets", strings.Repeat("[", mebibyte)},
		{"1 MiB of opening braces", strings.Repeat(`{"a":`, mebibyte/5)},
		{"1 MiB of blanks", strings.Repeat(" ", mebibyte)},
		{"XML", `<request id="a"/>`},
	} {
		body := strings.Replace(row.body, `"id":"a"`, `"id":"`+c.id()+`"`, 1)
		c.addRaw(row.name, cancel, jsonEncoding, []byte(body))
	}
}
