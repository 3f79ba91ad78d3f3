package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

const (
	// profileAge is how long the description of a profile counts. profileRetry is how long the
	// worker waits to read one again that could not be read, or that refuses an enrollment.
	profileAge, profileRetry = time.Hour, time.Minute
	// maxProfiles bounds the memory for profiles that requests name.
	maxProfiles = 256
)

// knownProfiles knows which properties the gateway's profiles require, before an enrollment
// fails. While a description cannot be read, the worker refuses nothing: the gateway itself
// refuses an incomplete enrollment. It is safe for concurrent use.
type knownProfiles struct {
	read func(ctx context.Context, ca, profile string) (gateway.Profile, error)
	// within bounds the read of one description: an enrollment waits for it, under its order
	// lease.
	within time.Duration
	log    *slog.Logger

	reading singleflight.Group
	mu      sync.Mutex
	byName  map[[2]string]knownProfile
}

type knownProfile struct {
	gateway.Profile
	asked time.Time // of the last read; zero: never
	err   error
}

// missing returns why the gateway would refuse an enrollment with these properties, or nil.
func (k *knownProfiles) missing(ctx context.Context, ca, profile string, given map[string]any) error {
	if profile == "" {
		return nil
	}
	age := profileAge
	for {
		p := k.known(ctx, ca, profile, age)
		name := p.Missing(given)
		switch {
		case name == "":
			return nil
		case age == profileAge && time.Since(p.asked) > profileRetry:
			age = profileRetry // the profile may have changed
			continue
		}
		return fmt.Errorf("properties: %s is missing, which the profile %s requires; give it in the request, or configure it as one of gateway.properties", name, profile)
	}
}

// known returns the description of a profile, no older than age.
func (k *knownProfiles) known(ctx context.Context, ca, profile string, age time.Duration) knownProfile {
	name := [2]string{ca, profile}
	fresh := func() (knownProfile, bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		p := k.byName[name]
		most := age
		if p.err != nil {
			most = profileRetry
		}
		return p, !p.asked.IsZero() && time.Since(p.asked) <= most
	}
	p, ok := fresh()
	if ok {
		return p
	}
	_, _, _ = k.reading.Do(ca+"\n"+profile, func() (any, error) {
		if _, ok := fresh(); !ok { // no other request has read it
			k.ask(ctx, name)
		}
		return nil, nil
	})
	p, _ = fresh()
	return p
}

// ask reads the description. After a failed read there is none.
func (k *knownProfiles) ask(ctx context.Context, name [2]string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.within)
	defer cancel()
	p, err := k.read(ctx, name[0], name[1])
	if err != nil && !errors.Is(err, gateway.ErrNotDescribed) {
		k.log.InfoContext(ctx, "the description of a profile cannot be read; the gateway refuses incomplete enrollments", "ca", name[0], "profile", name[1], "err", err)
	}
	if err != nil {
		p = gateway.Profile{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byName == nil || len(k.byName) >= maxProfiles {
		k.byName = map[[2]string]knownProfile{}
	}
	k.byName[name] = knownProfile{p, time.Now(), err}
}
