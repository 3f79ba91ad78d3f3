package order

import (
	"fmt"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Key names an order. Each part is one subject token.
type Key struct{ Producer, ID string }

// String returns the key as in the ledger's bucket: <producer>.<id>.
func (k Key) String() string { return k.Producer + "." + k.ID }

// ParseKey parses a key that String wrote.
func ParseKey(s string) (Key, error) {
	producer, id, ok := strings.Cut(s, ".")
	if !ok || !entrustbus.ValidToken(producer) || !entrustbus.ValidToken(id) {
		return Key{}, fmt.Errorf("%q is not <producer>.<id>", s)
	}
	return Key{producer, id}, nil
}
