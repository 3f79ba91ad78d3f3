package order

import (
	"fmt"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Key names an order. Both parts are one subject token each.
type Key struct{ Producer, ID string }

// String returns the key as the ledger's bucket spells it: <producer>.<id>.
func (k Key) String() string { return k.Producer + "." + k.ID }

// ParseKey splits what String wrote.
func ParseKey(s string) (Key, error) {
	producer, id, ok := strings.Cut(s, ".")
	if !ok || !entrustbus.ValidToken(producer) || !entrustbus.ValidToken(id) {
		return Key{}, fmt.Errorf("%q is not <producer>.<id>", s)
	}
	return Key{producer, id}, nil
}
