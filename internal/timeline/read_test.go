package timeline

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/results"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

func obstacles(all []Obstacle) Obstacles {
	return func(context.Context) ([]Obstacle, error) { return all, nil }
}

// bus is a server with all streams, and functions that write to them.
type bus struct {
	t      *testing.T
	js     jetstream.JetStream
	layout streams.Layout
	key    order.Key
	*Reader
}

func setup(t *testing.T) *bus {
	t.Helper()
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	layout.Audited, layout.AuditMaxBytes = true, 64<<20
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	return &bus{t, js, layout, order.Key{Producer: "web", ID: "4711"}, New(Config{JS: js, Layout: layout})}
}

func (b *bus) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bus) record(r order.Record) {
	b.t.Helper()
	l := ledger.New(b.js, b.layout.Orders)
	old, err := l.Get(b.t.Context(), b.key)
	b.check(err)
	_, err = l.Write(b.key, old, r, nil).Try(b.t.Context())
	b.check(err)
}

func (b *bus) result(r *entrustbus.Result) {
	b.t.Helper()
	r.ID, r.Producer = b.key.ID, b.key.Producer
	p, err := results.New(b.js, b.layout.Results, b.subjects).Publish(b.key, &order.Conclusion{Result: r, Encoding: entrustbus.EncodingMsgpack})
	b.check(err)
	_, err = p.Try(b.t.Context())
	b.check(err)
}

// asking returns an issue request of the order as its producer publishes it.
func (b *bus) asking() *order.Message {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.check(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "www.example"}, DNSNames: []string{"www.example"},
	}, key)
	b.check(err)
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, &entrustbus.Issue{
		ID: b.key.ID, CSRPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		ProfileID: "tls", ValiditySeconds: 90 * 86400, Labels: map[string]string{"team": "<b>blue"},
	})
	b.check(err)
	return &order.Message{Subject: b.subjects.Request(b.key.Producer, entrustbus.KindIssue), Body: body,
		Header: map[string][]string{entrustbus.HeaderContentType: {entrustbus.EncodingMsgpack.ContentType()}}}
}

// told formats the entries of a story, one line each.
func told(s *Story) (lines []string) {
	for _, e := range s.Entries {
		lines = append(lines, fmt.Sprintf("%d %s %s: %s", e.Replay, e.Source, e.What, e.Detail))
	}
	return lines
}

func (b *bus) read(want ...string) *Story {
	b.t.Helper()
	s, err := b.Read(b.t.Context(), b.key)
	b.check(err)
	if len(s.Notes) > 0 {
		b.t.Errorf("notes: %q", s.Notes)
	}
	got := told(s)
	if len(got) != len(want) {
		b.t.Fatalf("the story is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			b.t.Errorf("entry %d is %q, want %q", i, got[i], want[i])
		}
	}
	return s
}

func TestAnOrderThatNobodyKnows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.Read(t.Context(), b.key); !errors.Is(err, ErrUnknown) {
		t.Errorf("reading it says %v, want ErrUnknown", err)
	}
	if _, err := b.Facts(t.Context(), b.key); !errors.Is(err, ErrUnknown) {
		t.Errorf("its facts say %v, want ErrUnknown", err)
	}
}

// During an outage requests stay in their stream and have no record.
func TestAnOrderThatNoWorkerHasBegun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Obstacles = obstacles([]Obstacle{{Kind: Breaker, Operation: "enroll", CA: "a"}})
	for _, id := range []string{"1", b.key.ID} {
		other := *b
		other.key.ID = id
		raw := other.asking()
		_, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Body})
		b.check(err)
	}
	s := b.read("0 request received: issue, in stream ENTRUST_REQUESTS as message 2")
	if !strings.HasPrefix(s.Waits, "the breaker is open for enroll at CA a, next canary") && !strings.HasPrefix(s.Waits, "the breaker is open for enroll at CA a; the request waits in stream ENTRUST_REQUESTS since ") ||
		!strings.HasSuffix(s.Waits, "behind 1 issue request of the producer") {
		t.Errorf("waits: %q", s.Waits)
	}
	if !slices.Equal(s.Names, []string{"dns:www.example"}) || s.Kind != entrustbus.KindIssue || s.Phase != "" {
		t.Errorf("facts: %+v", s.Facts)
	}
}

func TestAnOrderThatAwaitsApproval(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin, raw := time.Now().UTC().Add(-time.Minute).Truncate(time.Second), b.asking()
	b.record(order.Record{
		Phase: order.Awaiting, Kind: entrustbus.KindIssue, RequestedAt: begin, SubmittedAt: begin.Add(time.Second), Submissions: 1,
		CAID: "a", ProfileID: "tls", TrackingID: "t-1", Deadline: begin.Add(time.Hour), Request: raw, Validity: 30 * 24 * time.Hour,
	})
	b.check(wakeup.New(b.js, b.layout.Parked, b.subjects).Schedule(t.Context(), &order.Wakeup{
		Key: b.key, Kind: entrustbus.KindIssue, Lane: order.LanePoll, Due: begin.Add(30 * time.Minute), Polls: 4, Request: raw,
	}))
	s := b.read(
		"0 ledger received: issue",
		"0 ledger submitted: CA a, profile tls, tracking id t-1",
		"0 wake-up parked: after 4 polls; next wake-up ",
	)
	if s.Polls != 4 || !s.NextWakeup.Equal(begin.Add(30*time.Minute)) || s.Labels["team"] != "<b>blue" || s.Validity != "90d, cut to 30d by the policy" {
		t.Errorf("facts: %+v", s.Facts)
	}
	if !strings.HasPrefix(s.Waits, "awaiting approval at the gateway; next poll at ") {
		t.Errorf("waits: %q", s.Waits)
	}
}

// One generation failed, an operator replayed the order, and the second generation was
// issued.
func TestAnOrderThatWasReplayed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin, raw := time.Now().UTC().Add(-time.Minute).Truncate(time.Second), b.asking()
	refusal := &entrustbus.ResultError{Class: entrustbus.ClassUpstream4xx, Code: "cagw-1", Message: "no such profile", HTTPStatus: 422}
	letters := deadletter.New(b.js, b.layout.Dead, b.subjects)
	for _, key := range []order.Key{{Producer: "web", ID: "other"}, b.key} {
		b.check(letters.Put(t.Context(), &deadletter.Letter{Time: begin, Letter: order.Letter{
			Reason: order.Rejected, Key: key, Kind: entrustbus.KindIssue, Why: "no such profile", Request: *raw, ID: key.String(),
		}}))
	}
	b.result(&entrustbus.Result{Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeFailed, RequestedAt: begin, Error: refusal})
	trail := audit.New(audit.Config{JS: b.js, Stream: b.layout.Audit, Subjects: b.subjects, Chain: "test", Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	go trail.Run(t.Context())
	b.check(trail.Append(t.Context(), "1", &audit.Record{Decision: "replayed", Producer: "web", Order: "other"}))
	b.check(trail.Append(t.Context(), "2", &audit.Record{Decision: "replayed", Producer: "web", Order: b.key.ID, Generation: 1, Operator: "eve", Reason: "profile fixed"}))
	b.check(trail.Close(t.Context()))
	again := time.Now().UTC()
	b.result(&entrustbus.Result{
		Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeIssued, Replay: 1, RequestedAt: again, SubmittedAt: again, Submissions: 1,
		Serial: "5f3a", NotAfter: begin.Add(time.Hour), Labels: map[string]string{"team": "blue"},
	})
	b.record(order.Record{Phase: order.Closed, Kind: entrustbus.KindIssue, Generation: 1, RequestedAt: again, SubmittedAt: again, Submissions: 1, Outcome: entrustbus.OutcomeIssued, Serial: "5f3a"})
	s := b.read(
		"0 ledger received: issue",
		"0 dead letter dead letter: rejected: no such profile (letter 2)",
		"0 result failed: by the gateway (HTTP 422): no such profile [cagw-1]",
		"1 audit replayed: by eve, reason: profile fixed",
		"1 ledger replayed: issue",
		"1 ledger submitted: ",
		"1 result issued: serial 5f3a, valid until ",
	)
	if s.Outcome != entrustbus.OutcomeIssued || s.Error != nil || s.Waits != "" || s.Trouble != "" || s.Labels["team"] != "blue" || !slices.Equal(s.Names, []string{"dns:www.example"}) {
		t.Errorf("facts: %+v", s.Facts)
	}
}
