package consumer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

const (
	// caListAge is how long a list of the gateway's CAs is believed where it lacks one,
	// and how long one that could not be read is not asked for again.
	caListAge = time.Minute
	// caListTime bounds the reading of the list.
	caListTime = 10 * time.Second
)

// knownCAs tells which CAs requests may name: the configured one, and those that the
// gateway lists. The list is read when a request first names another one, and again at
// most every caListAge, however many CAs a producer makes up. Where it cannot be read no
// request is refused: the gateway's trouble is not the request's, and the gateway itself
// refuses what it does not know. Safe for concurrent use.
type knownCAs struct {
	configured string
	read       func(context.Context) ([]gateway.ListedCA, error)
	found      func(ca string) // told of each CA that a request names and the gateway lists
	log        *slog.Logger

	reading singleflight.Group
	mu      sync.Mutex
	listed  []string  // empty: it was not read, or could not be
	asked   time.Time // zero: never
}

// refuses returns why no request may name this CA, or nil.
func (k *knownCAs) refuses(ctx context.Context, ca string) error {
	if ca == "" || ca == k.configured {
		return nil
	}
	lists, old := k.lists(ca)
	if !lists && old {
		// Requests that name a CA which is listed do not wait for this.
		_, _, _ = k.reading.Do("", func() (any, error) {
			if _, old := k.lists(ca); old { // nobody read it since
				k.ask(ctx)
			}
			return nil, nil
		})
		lists, _ = k.lists(ca)
	}
	if lists {
		k.found(ca)
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.listed) == 0 {
		return nil
	}
	return &entrustbus.FieldError{
		Field: "ca_id", Problem: "is no CA that the gateway lists for the worker's client certificate",
		Fix: "name one that it lists, or leave ca_id out",
	}
}

// lists reports whether the list has this CA, and whether it may be read again.
func (k *knownCAs) lists(ca string) (yes, old bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.listed, ca), k.asked.IsZero() || time.Since(k.asked) > caListAge
}

// all returns the configured CA, and those that the gateway lists.
func (k *knownCAs) all(ctx context.Context) []string {
	if _, old := k.lists(k.configured); old {
		_, _, _ = k.reading.Do("", func() (any, error) {
			if _, old := k.lists(k.configured); old { // nobody read it since
				k.ask(ctx)
			}
			return nil, nil
		})
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := []string{k.configured}
	for _, ca := range k.listed {
		if ca != k.configured {
			all = append(all, ca)
		}
	}
	return all
}

// ask reads the list. Where it cannot be read there is none: an older one may lack a CA that
// was added since, and would refuse its requests for good.
func (k *knownCAs) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), caListTime)
	defer cancel()
	all, err := k.read(ctx)
	if err != nil {
		k.log.InfoContext(ctx, "the gateway's list of CAs cannot be read; requests that name a CA go to the gateway", "err", err)
		all = nil
	}
	listed := make([]string, len(all))
	for i, ca := range all {
		listed[i] = ca.ID
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.listed = time.Now(), listed
}
