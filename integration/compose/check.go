package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// restWithin bounds the wait for acknowledgements after the last result.
const restWithin = 30 * time.Second

// check compares the orders with bus and simulator through the oracle. It adds checks
// that hold for this system only: nothing else was enrolled or revoked, and no worker
// died between a dead letter and its result.
func (s *system) check(ctx context.Context, orders []*oracle.Order) (*oracle.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, restWithin)
	defer cancel()
	js, err := jetstream.New(s.nc)
	if err != nil {
		return nil, err
	}
	c := oracle.Oracle{JS: js, Layout: streams.DefaultLayout(), Faults: &s.happened}
	_ = c.Rest(ctx) // CheckAtRest reports it
	sim, err := s.simulator(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	c.Gateway = sim
	r, err := c.CheckAtRest(ctx, orders)
	if err != nil {
		return nil, err
	}
	errs := []error{}
	for _, f := range r.Findings {
		errs = append(errs, errors.New(f))
	}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	issues := 0
	for _, o := range orders {
		result := r.Results[o.Key()]
		if o.KeyHash == "" || result == nil {
			continue
		}
		issues++
		if _, known := sim.enrollments[o.KeyHash]; !known && result.Outcome != entrustbus.OutcomeUnconfirmed {
			wrong("%s: %s, but never enrolled", o.ID(), result.Outcome)
		}
		if result.PossibleDuplicate {
			wrong("%s: a possible duplicate, though a lost reply is to be held", o.ID())
		}
	}
	if n := len(sim.enrollments); n > issues {
		wrong("%d keys were enrolled for %d orders", n, issues)
	}
	if n := r.Outcomes[entrustbus.OutcomeRevoked]; len(sim.revocations) != n {
		wrong("the simulator revoked %d certificates, want %d", len(sim.revocations), n)
	}
	if r.StaleLetters > 0 {
		wrong("%d dead letters do not belong to the result of their order: %v", r.StaleLetters, r.Notes)
	}
	return r, errors.Join(errs...)
}

// simulator is the report of the simulator's control listener.
type simulator struct {
	enrollments map[string]gatewaytest.Enrollment
	revocations []gatewaytest.Revocation
}

func (s *system) simulator(ctx context.Context) (*simulator, error) {
	ctx, cancel := context.WithTimeout(ctx, restWithin)
	defer cancel()
	sim := &simulator{enrollments: map[string]gatewaytest.Enrollment{}}
	var all []gatewaytest.Enrollment
	if err := errors.Join(s.ask(ctx, "enrollments", &all), s.ask(ctx, "revocations", &sim.revocations)); err != nil {
		return nil, err
	}
	for _, e := range all {
		sim.enrollments[e.KeyHash] = e
	}
	return sim, nil
}

func (s *simulator) Enrollment(keyHash string) (gatewaytest.Enrollment, bool) {
	e, ok := s.enrollments[keyHash]
	return e, ok
}

func (s *simulator) Revocations() []gatewaytest.Revocation { return s.revocations }

// PollsOf is unused: this oracle checks no polls.
func (s *simulator) PollsOf(string) (gatewaytest.PollRecord, error) {
	return gatewaytest.PollRecord{}, gatewaytest.ErrNoOrder
}

// ask reads one report from the simulator's control listener.
func (s *system) ask(ctx context.Context, report string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/_sim/%s", s.controlPort, report), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the simulator: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the simulator for %s: %s", report, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the simulator's %s: %w", report, err)
	}
	return nil
}
