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
	// caListAge is how long a list of CAs counts when it lacks a CA, and how long the worker
	// waits after a failed read.
	caListAge = time.Minute
	// caListTime bounds one read of the list.
	caListTime = 10 * time.Second
)

// knownCAs says which CAs requests may name: the configured one, and those that the gateway
// lists. The worker reads the list when a request first names another CA, then at most once per
// caListAge, however many CAs a producer invents. While the list cannot be read, the worker
// refuses no request: the gateway refuses unknown CAs itself, and its outage must not fail a
// request. It is safe for concurrent use.
type knownCAs struct {
	configured string
	read       func(context.Context) ([]gateway.ListedCA, error)
	found      func(ca string) // called for each CA that a request names and the gateway lists
	log        *slog.Logger

	reading singleflight.Group
	mu      sync.Mutex
	listed  []string  // empty: not read yet, or the read failed
	asked   time.Time // of the last read; zero: never
}

// refuses returns why no request may name this CA, or nil.
func (k *knownCAs) refuses(ctx context.Context, ca string) error {
	if ca == "" || ca == k.configured {
		return nil
	}
	lists, old := k.lists(ca)
	if !lists && old {
		// Requests that name a listed CA do not wait for this.
		_, _, _ = k.reading.Do("", func() (any, error) {
			if _, old := k.lists(ca); old { // no other request has read it
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
		Field: "ca_id", Problem: "is not a CA that the gateway lists for the worker's client certificate",
		Fix: "name a CA that it lists, or leave ca_id out",
	}
}

// lists reports whether the list has this CA, and whether the list may be read again.
func (k *knownCAs) lists(ca string) (yes, old bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.listed, ca), k.asked.IsZero() || time.Since(k.asked) > caListAge
}

// all returns the configured CA, then those that the gateway lists.
func (k *knownCAs) all(ctx context.Context) []string {
	if _, old := k.lists(k.configured); old {
		_, _, _ = k.reading.Do("", func() (any, error) {
			if _, old := k.lists(k.configured); old { // no other request has read it
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

// ask reads the list. After a failed read there is no list: an older one may lack a new CA, and
// would refuse its requests for ever.
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
