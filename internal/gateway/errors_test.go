package gateway

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCleanRemovesWhatWasEncoded(t *testing.T) {
	t.Parallel()
	csr := newCSR(t, "shop.example.net")
	armoured := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr.Raw}))
	bare := base64.StdEncoding.EncodeToString(csr.Raw)
	url := base64.RawURLEncoding.EncodeToString(csr.Raw)
	for name, echoed := range map[string]string{
		"PEM":                  armoured,
		"PEM cut off":          armoured[:len(armoured)/2],
		"PEM on one line":      strings.ReplaceAll(armoured, "\n", " "),
		"PEM escaped":          strings.ReplaceAll(armoured, "\n", `\n`),
		"base64":               bare,
		"base64 cut off":       bare[:100],
		"base64 for URLs":      url,
		"base64 without frame": strings.Join(strings.Split(armoured, "\n")[1:], "\n"),
	} {
		got := clean("cannot use csr " + echoed + " sorry")
		for i := 0; i+48 <= len(bare); i += 4 {
			if strings.Contains(got, bare[i:i+24]) || strings.Contains(got, url[i:i+24]) {
				t.Errorf("%s: %q holds a piece of the CSR", name, got)
				break
			}
		}
		if !strings.HasPrefix(got, "cannot use csr [removed]") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCleanKeepsAndBounds(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"CA not found":                                    "CA not found",
		" two\r\n  lines\tand\x00more\x1b[31m ":           "two lines and more [31m",
		"bad \xff byte":                                   "bad ? byte",
		"serial 00000000000000000000000000000001234abcde": "serial 00000000000000000000000000000001234abcde",
		strings.Repeat("ä ", 300):                         strings.Repeat("ä ", 99) + "ä…",
	} {
		got := clean(in)
		if got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
		if n := utf8.RuneCountInString(got); n > maxMessage {
			t.Errorf("clean(%q) has %d characters", in, n)
		}
	}
}

func TestFateOf(t *testing.T) {
	t.Parallel()
	if got := FateOf(nil); got != 0 {
		t.Errorf("FateOf(nil) = %v", got)
	}
	if got := FateOf(errors.New("foreign")); got != Unknown {
		t.Errorf("FateOf(foreign) = %v, want Unknown", got)
	}
	if got := FateOf(fmt.Errorf("enrolling: %w", &Error{Op: OpEnroll, Fate: Throttled})); got != Throttled {
		t.Errorf("FateOf(wrapped) = %v, want Throttled", got)
	}
}
