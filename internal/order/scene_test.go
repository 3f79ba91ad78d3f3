package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

// scene is the input of a search: the request, the settings, and the possible faults.
type scene struct {
	Settings
	name      string
	kind      entrustbus.Kind
	cancelled bool // a cancellation of the order is under way from the start
	canLookUp bool
	short     bool // two faults happen in the long run only
	large     bool // two faults happen only without the race detector
	turns     bool // a new order must wait for its turn
	fresh     bool // a worker reads the record again before it decides about an answer
	possible  []faulty
	settled   time.Duration // added to the delay of events that the machine knows

	workers      [2]string
	machines     [2]*Machine
	requests     []*Request // of the watched order, by generation
	cancellation *Request
	parsed       map[*Message]*Request

	steps  []Step
	decide func(m *Machine, now time.Time, key Key, cur Stored, ev Event) Decision
	mutant mutant
}

// mutant is a faulty loop. Faulty decisions wrap scene.decide.
type mutant struct {
	writesBlindly    bool // a record is written without compare-and-set
	publishesBlindly bool // a result is published without compare-and-set
	anyResultStands  bool // a result of any generation is in force
	unwakesAny       bool // an end removes the wake-up of any generation
	closesAny        bool // a record is closed, whatever its phase or generation
	acksFirst        bool // a message is acknowledged on delivery
	dropsOnConflict  bool // an event is dropped when another writer was first
	forgetsKeep      bool // a drain does not keep an end that is not published
	callsUnrecorded  bool // the record of a submission is not written before its call
	callsAfterLease  bool // the lease is not checked before the call
	ignoresLoss      bool // a loss of the last records is not noticed
}

// keys of the watched order and of the cancellation.
var keys = [2]Key{{"acme", "order"}, {"acme", "cancel"}}

var begin = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// testSettings have few polls, so that a deadline is few events away.
func testSettings() Settings {
	return Settings{
		CAID: "ca", ProfileID: "profile", Lease: 2 * time.Minute, EventDelay: time.Minute,
		Schedule: pollsched.Schedule{First: 5 * time.Minute, Max: 5 * time.Minute, Factor: 1},
		MaxWait:  8 * time.Minute, MaxWaitLimit: time.Hour, SubmitMaxWait: 6 * time.Minute, KeepAfter: 24 * time.Hour,
		OnLostReply: Hold, OnRollback: Lookup, Audited: true,
	}
}

// newScene returns the scene of one kind. It holds an order when the gateway's answer is lost.
func newScene(name string, kind entrustbus.Kind, change func(*scene)) *scene {
	s := &scene{
		Settings: testSettings(), name: name, kind: kind, canLookUp: kind == entrustbus.KindIssue, possible: everyFault(),
		workers: [2]string{"a", "b"}, steps: Steps(), parsed: map[*Message]*Request{},
		decide: func(m *Machine, now time.Time, key Key, cur Stored, ev Event) Decision {
			return m.Decide(now, 0.5, key, cur, ev)
		},
	}
	if change != nil {
		change(s)
	}
	for i, name := range s.workers {
		settings := s.Settings
		settings.Worker = name
		settings.EventDelay += s.settled
		s.machines[i] = &Machine{settings}
	}
	var body entrustbus.Request
	switch kind {
	case entrustbus.KindIssue:
		body = &entrustbus.Issue{ID: keys[watched].ID, CSRPEM: "csr"}
	case entrustbus.KindRevoke:
		body = &entrustbus.Revoke{ID: keys[watched].ID, Serial: "a1"}
	case entrustbus.KindTrack:
		body = &entrustbus.Track{ID: keys[watched].ID, TrackingID: "X"}
	}
	for g := range generations - 1 {
		s.requests = append(s.requests, s.newRequest(keys[watched], body, g))
	}
	s.cancellation = s.newRequest(keys[cancelling], &entrustbus.Cancel{ID: keys[cancelling].ID, Order: keys[watched].ID}, 0)
	return s
}

func (s *scene) newRequest(key Key, body entrustbus.Request, generation int) *Request {
	raw := &Message{Subject: "entrust.request.acme." + string(body.Kind()), Body: []byte(key.ID)}
	q := &Request{
		Key: key, Kind: body.Kind(), Generation: generation, Operator: generation > 0, Body: body, Encoding: entrustbus.EncodingJSON,
		Digest: []byte(key.ID), Bytes: []byte("bytes of " + key.ID), Deliveries: 1, Raw: raw,
	}
	s.parsed[raw] = q
	return q
}

func (s *scene) machine(i int) *Machine { return s.machines[i] }

func (s *scene) orders() int {
	if s.cancelled {
		return 2
	}
	return 1
}

// world is the scene's first state: the requests are stored, and no worker has read one.
func (s *scene) world(faults int) world {
	w := world{scene: s, now: begin, faults: faults}
	w.request(watched, s.requests[0], nil)
	if s.cancelled {
		w.request(cancelling, s.cancellation, nil)
	}
	if s.kind == entrustbus.KindTrack {
		w.gateway.enrollments[0] = enrollment{state: pending, tracking: "X", told: true, at: w.now}
		w.gateway.n = 1
	}
	return w
}
