package entrustbus_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
)

// receive is what a worker does with a message before it knows what is asked for.
func receive(m entrustbustest.HostileMessage) (entrustbus.Request, error) {
	_, kind, err := entrustbus.Subjects{}.ParseRequest(m.Subject)
	if err != nil {
		return nil, err
	}
	enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Body)
	if err != nil {
		return nil, err
	}
	return entrustbus.DecodeRequest(kind, enc, m.Body)
}

func TestHostileMessages(t *testing.T) {
	t.Parallel()
	corpus := entrustbustest.Hostile()
	if len(corpus) < 200 {
		t.Errorf("the corpus has %d messages, want at least 200", len(corpus))
	}
	names, ids := map[string]bool{}, map[string]string{}
	for _, m := range corpus {
		if names[m.Name] {
			t.Errorf("two messages are called %q", m.Name)
		}
		names[m.Name] = true
		if len(m.Body) > entrustbus.MaxBodyBytes {
			t.Errorf("%s: the body has %d bytes, more than a server takes", m.Name, len(m.Body))
		}
		r, err := receive(m)
		if r != nil && entrustbus.ValidToken(r.OrderID()) {
			// A worker answers these; with one id twice it would answer for the other one.
			if twin, twice := ids[r.OrderID()]; twice {
				t.Errorf("%s: has the id of %s", m.Name, twin)
			}
			ids[r.OrderID()] = m.Name
		}
		var f *entrustbus.FieldError
		if !errors.As(err, &f) {
			t.Errorf("%s: got %T %v, want a *FieldError", m.Name, err, err)
			continue
		}
		if f.Field == "" || f.Problem == "" {
			t.Errorf("%s: the error names no field or no problem: %+v", m.Name, f)
		}
		if n := len(f.Error()); n > 300 {
			t.Errorf("%s: the error has %d bytes", m.Name, n)
		}
		if strings.ContainsFunc(f.Error(), func(r rune) bool { return r < ' ' }) || strings.Contains(f.Error(), "hostil") {
			t.Errorf("%s: the error quotes the message: %q", m.Name, f.Error())
		}
		if f.Undecodable && f.Field != "v" && r != nil && !entrustbus.ValidToken(r.OrderID()) {
			t.Errorf("%s: undecodable, yet there is a request that cannot be answered", m.Name)
		}
		if !f.Undecodable && r == nil {
			t.Errorf("%s: %v: decodable, yet there is no request", m.Name, err)
		}
	}
	t.Logf("%d messages", len(corpus))
}
