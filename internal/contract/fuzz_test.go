package contract

import (
	"errors"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
)

func fuzzRequests(f *testing.F, enc entrustbus.Encoding) {
	kinds := []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel, entrustbus.KindComplete, entrustbus.KindResolve}
	number := map[entrustbus.Kind]byte{}
	for i, kind := range kinds {
		number[kind] = byte(i)
	}
	for _, r := range sampleRequests(f) {
		body, err := entrustbus.EncodeRequest(enc, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(number[r.Kind()], body)
	}
	for _, m := range entrustbustest.Hostile() {
		if len(m.Body) < 400 && m.Header.Get(entrustbus.HeaderContentType) == enc.ContentType() {
			_, kind, _ := entrustbus.Subjects{}.ParseRequest(m.Subject)
			f.Add(number[kind], m.Body)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		checkDecoded(t, kinds[int(kind)%len(kinds)], enc, body)
	})
}

func FuzzDecodeRequestMsgpack(f *testing.F) { fuzzRequests(f, entrustbus.EncodingMsgpack) }

func FuzzDecodeRequestJSON(f *testing.F) { fuzzRequests(f, entrustbus.EncodingJSON) }

func FuzzDecodeResult(f *testing.F) {
	for _, r := range sampleResults(f) {
		for _, enc := range encodings {
			body, err := entrustbus.EncodeResult(enc, r)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(enc == entrustbus.EncodingJSON, body)
		}
	}
	f.Fuzz(func(t *testing.T, json bool, body []byte) {
		enc := entrustbus.EncodingMsgpack
		if json {
			enc = entrustbus.EncodingJSON
		}
		r, err := entrustbus.DecodeResult(enc, body)
		if err != nil {
			var f *entrustbus.FieldError
			if !errors.As(err, &f) || r != nil {
				t.Fatalf("got %v beside %T %v", r, err, err)
			}
			return
		}
		for _, other := range encodings {
			again, err := entrustbus.EncodeResult(other, r)
			if err != nil {
				t.Fatal(err)
			}
			twin, err := entrustbus.DecodeResult(other, again)
			if err != nil {
				t.Fatal(err)
			}
			if d := difference(twin, r); d != "" {
				t.Fatalf("decoded again in %v: %s", other, d)
			}
		}
	})
}

func FuzzParseSAN(f *testing.F) {
	for _, s := range []string{"a.b", "*.a.b", "dns:a", "ip:::1", "1.2.3.4", "a@b.c", "uri:urn:a:b", "https://a/b", "fe80::1%a", "xn--a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		san, err := entrustbus.ParseSAN(s)
		if err != nil {
			wantField(t, s, err, "sans")
			return
		}
		prefix := map[entrustbus.SANType]string{
			entrustbus.SANDNS: "dns:", entrustbus.SANIP: "ip:", entrustbus.SANEmail: "email:", entrustbus.SANURI: "uri:",
		}[san.Type]
		if prefix == "" || san.Value == "" || san.DER != nil {
			t.Fatalf("ParseSAN(%q) = %+v", s, san)
		}
		again, err := entrustbus.ParseSAN(prefix + san.Value)
		if err != nil || again.Type != san.Type || again.Value != san.Value || again.DER != nil {
			t.Fatalf("ParseSAN(%q) = %+v, but %+v, %v with its type in front", s, san, again, err)
		}
	})
}

func FuzzSubjects(f *testing.F) {
	for _, s := range []string{"entrust.request.p.issue", "entrust.operator.p.resolve", "entrust.result.p.a", "entrust.due.p.a", "entrust.parked.p.a", "entrust.dead.p.invalid", ".", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		var s entrustbus.Subjects
		if producer, kind, err := s.ParseRequest(subject); err == nil && s.Request(producer, kind) != subject {
			t.Errorf("%q was read as the request %q %q", subject, producer, kind)
		}
		if in, err := s.ParseIncoming(subject); err == nil &&
			subject != map[bool]string{false: s.Request(in.Producer, in.Kind), true: s.Operator(in.Producer, in.Kind)}[in.Operator] {
			t.Errorf("%q was read as %+v", subject, in)
		}
		if producer, reason, err := s.ParseDead(subject); err == nil && s.Dead(producer, reason) != subject {
			t.Errorf("%q was read as the dead letter %q %q", subject, producer, reason)
		}
		if producer, id, err := s.ParseOrder(subject); err == nil &&
			subject != s.Parked(producer, id) && subject != s.Result(producer, id) {
			t.Errorf("%q was read as the order %q %q", subject, producer, id)
		}
	})
}
