package gateway

import (
	"encoding/json"
	"strings"
	"testing"
)

// A repeated chain is not parsed again, and the number of remembered chains is bounded.
func TestChainTexts(t *testing.T) {
	text := json.RawMessage(asJSON(t, pemOf(newTestCA(t).issuing)))
	c := new(chainTexts)
	first := c.read(text)
	if len(first.certs) != 1 || first.unread != 0 {
		t.Fatalf("read %d certificates, %d cannot be read", len(first.certs), first.unread)
	}
	if again := c.read(text); again.certs[0] != first.certs[0] {
		t.Error("parsed again")
	}
	if n := testing.AllocsPerRun(100, func() { c.read(text) }); n != 0 {
		t.Errorf("a chain that comes again costs %v allocations", n)
	}
	for range 2 {
		if b := c.read(json.RawMessage(`"-----BEGIN CERTIFICATE-----"`)); b.unread != 1 {
			t.Errorf("a damaged chain: %+v", b)
		}
	}
	for i := range 10 * maxChainTexts {
		if b := c.read(json.RawMessage(string(text) + strings.Repeat(" ", i+1))); len(b.certs) != 1 {
			t.Fatalf("text %d: %d certificates", i, len(b.certs))
		}
	}
	if n := len(c.seen); n > maxChainTexts {
		t.Errorf("remembers %d chains", n)
	}
	var none *chainTexts
	if b := none.read(text); len(b.certs) != 1 {
		t.Errorf("without a memory: %d certificates", len(b.certs))
	}
}
