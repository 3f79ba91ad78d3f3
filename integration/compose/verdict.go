package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// verdict is what the bus and the simulator hold when all is over.
type verdict struct {
	results     map[string]uint64 // by subject
	dead        map[string]uint64 // by reason
	left        map[string]uint64 // messages by stream, of those that must run empty
	enrollments map[string]gatewaytest.Enrollment
	revocations int

	orders, unconfirmed, revoked int
}

// emptyWithin bounds the wait for acknowledgements that follow the last result.
const emptyWithin = 30 * time.Second

// look reads the bus, when it has come to rest, and the simulator.
func (s *system) look(ctx context.Context, nc *nats.Conn) (*verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, emptyWithin)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	v := &verdict{left: map[string]uint64{}, dead: map[string]uint64{}, enrollments: map[string]gatewaytest.Enrollment{}}
	for _, name := range []string{"ENTRUST_REQUESTS", "ENTRUST_PARKED"} {
		for {
			n, err := messages(ctx, js, name)
			if err != nil {
				return nil, err
			}
			v.left[name] = n
			if n == 0 || sleep(ctx, 200*time.Millisecond) != nil {
				break
			}
		}
	}
	if v.results, err = subjects(ctx, js, "ENTRUST_RESULTS", "entrust.result.>"); err != nil {
		return nil, err
	}
	letters, err := subjects(ctx, js, "ENTRUST_DEAD", "entrust.dead.>")
	if err != nil {
		return nil, err
	}
	for subject, n := range letters {
		v.dead[subject[strings.LastIndexByte(subject, '.')+1:]] += n
	}

	var enrollments []gatewaytest.Enrollment
	if err := s.ask(ctx, "enrollments", &enrollments); err != nil {
		return nil, err
	}
	for _, e := range enrollments {
		v.enrollments[e.KeyHash] = e
	}
	var revocations []json.RawMessage
	if err := s.ask(ctx, "revocations", &revocations); err != nil {
		return nil, err
	}
	v.revocations = len(revocations)
	return v, nil
}

func messages(ctx context.Context, js jetstream.JetStream, stream string) (uint64, error) {
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("reading stream %s: %w", stream, err)
	}
	return st.CachedInfo().State.Msgs, nil
}

// subjects counts a stream's messages by subject.
func subjects(ctx context.Context, js jetstream.JetStream, stream, filter string) (map[string]uint64, error) {
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", stream, err)
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("counting the messages of stream %s: %w", stream, err)
	}
	return info.State.Subjects, nil
}

// ask reads a report of the simulator's control listener.
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
		return fmt.Errorf("reading what the simulator says of %s: %w", report, err)
	}
	return nil
}

// judge compares all of it with the orders, and joins what is wrong.
func (v *verdict) judge(orders []*order) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	want := map[string]bool{}
	v.orders = len(orders)
	rejected := 0
	for _, o := range orders {
		if err := o.judge(); err != nil {
			errs = append(errs, err)
			continue
		}
		producer := producers[o.producer].name
		want[entrustbus.Subjects{}.Result(producer, o.request.ID)] = true
		if o.revoked != nil {
			v.revoked++
			want[entrustbus.Subjects{}.Result(producer, o.revocation().ID)] = true
		}
		switch o.result.Outcome {
		case entrustbus.OutcomeUnconfirmed:
			v.unconfirmed++
		case entrustbus.OutcomeRejected:
			rejected++
		}
		e := v.enrollments[o.keyHash()]
		if e.Count > 1 {
			wrong("%s: enrolled %d times: %v at %v", o.request.ID, e.Count, e.TrackingIDs, e.Enrolled)
		}
		if e.Count == 0 && o.result.Outcome != entrustbus.OutcomeUnconfirmed {
			wrong("%s: %s, but never enrolled", o.request.ID, o.result.Outcome)
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(v.results)) {
		if n := v.results[subject]; n != 1 || !want[subject] {
			wrong("%s: %d results, asked for: %v", subject, n, want[subject])
		}
	}
	if len(v.results) != len(want) {
		wrong("results of %d requests, want %d", len(v.results), len(want))
	}
	if len(v.enrollments) > len(orders) {
		wrong("%d keys were enrolled for %d orders", len(v.enrollments), len(orders))
	}
	if v.revocations != v.revoked {
		wrong("the simulator revoked %d certificates, want %d", v.revocations, v.revoked)
	}
	for stream, n := range v.left {
		if n != 0 {
			wrong("%s still holds %d messages", stream, n)
		}
	}
	for reason, n := range v.dead {
		if expected := map[string]int{"rejected": rejected, "unconfirmed": v.unconfirmed}[reason]; int(n) != expected {
			wrong("%d dead letters %s, want %d", n, reason, expected)
		}
	}
	return errors.Join(errs...)
}

func (v *verdict) String() string {
	return fmt.Sprintf("%d orders and %d revocations: one result each, no order enrolled twice; %d held as unconfirmed",
		v.orders, v.revoked, v.unconfirmed)
}
