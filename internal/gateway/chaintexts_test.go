package gateway

import (
	"fmt"
	"strings"
	"testing"
)

// A chain that comes again is not parsed again, and no gateway makes the worker remember
// more than so many.
func TestChainTexts(t *testing.T) {
	chain := newTestCA(t).issuing
	text := pemOf(chain)
	c := new(chainTexts)
	first, err := c.parse(text)
	if err != nil || len(first) != 1 {
		t.Fatalf("parsed %d certificates: %v", len(first), err)
	}
	again, err := c.parse(text)
	if err != nil || again[0] != first[0] {
		t.Errorf("parsed again: %v", err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.parse(text) }); n != 0 {
		t.Errorf("a chain that comes again costs %v allocations", n)
	}
	if _, err := c.parse("-----BEGIN CERTIFICATE-----"); err == nil {
		t.Error("a damaged chain is no error")
	}
	for i := range 10 * maxChainTexts {
		if _, err := c.parse(text + strings.Repeat("\n", i+1)); err != nil {
			t.Fatal(fmt.Errorf("text %d: %w", i, err))
		}
	}
	if n := len(c.seen); n > maxChainTexts {
		t.Errorf("remembers %d chains", n)
	}
	var none *chainTexts
	if certs, err := none.parse(text); err != nil || len(certs) != 1 {
		t.Errorf("without a memory: %d certificates, %v", len(certs), err)
	}
}
