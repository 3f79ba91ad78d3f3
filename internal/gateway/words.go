package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// StatusWords are the gateway's words for the state of an enrollment, compared without regard
// to case. No source outside Entrust lists those of the CA Gateway, so callers can set them.
// An empty list stands for its default. A word in no list counts as pending; the client
// counts it and logs it once.
//
// A word alone never means issued: only a certificate in the answer does.
type StatusWords struct {
	// Issued words announce a certificate. Without one, the answer is malformed.
	Issued []string
	// Pending words mean that the order waits.
	Pending []string
	// Rejected words end the order.
	Rejected []string
}

// DefaultStatusWords returns the words of the certctl connector, and ACCEPTED, which the CA
// Gateway sends with a finished enrollment and perhaps with a pending one.
func DefaultStatusWords() StatusWords {
	return StatusWords{
		Issued:   []string{"ISSUED"},
		Pending:  []string{"PENDING", "PROCESSING", "AWAITING_APPROVAL", "ACCEPTED"},
		Rejected: []string{"REJECTED", "DENIED", "FAILED"},
	}
}

func (w StatusWords) withDefaults() StatusWords {
	def := DefaultStatusWords()
	if len(w.Issued) == 0 {
		w.Issued = def.Issued
	}
	if len(w.Pending) == 0 {
		w.Pending = def.Pending
	}
	if len(w.Rejected) == 0 {
		w.Rejected = def.Rejected
	}
	return w
}

// validate returns an error for an empty word, and for a word that is listed twice.
func (w StatusWords) validate() error {
	seen := map[string]bool{}
	for _, word := range slices.Concat(w.Issued, w.Pending, w.Rejected) {
		key := wordKey(word)
		if key == "" || seen[key] {
			return fmt.Errorf("gateway status words: %q is empty or listed twice", word)
		}
		seen[key] = true
	}
	return nil
}

func wordKey(word string) string { return strings.ToUpper(strings.TrimSpace(word)) }

func hasWord(list []string, word string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return strings.EqualFold(strings.TrimSpace(w), word) })
}

// maxUnknownWords bounds the number of counted words, so that a gateway with ever new words
// cannot use up memory.
const maxUnknownWords = 100

// wordCount counts status words that are in no list.
type wordCount struct {
	mu    sync.Mutex
	words map[string]uint64 // guarded by mu
}

// add counts the word and reports whether it is new. Words past the bound share one entry, so
// that they are logged once in total.
func (c *wordCount) add(word string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.words == nil {
		c.words = map[string]uint64{}
	}
	if _, known := c.words[word]; !known && len(c.words) >= maxUnknownWords {
		word = "(other)"
	}
	c.words[word]++
	return c.words[word] == 1
}

func (c *wordCount) snapshot() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.words)
}
