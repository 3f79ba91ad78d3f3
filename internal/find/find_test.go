package find

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/results"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// bus is a server with orders.
type bus struct {
	t      *testing.T
	js     jetstream.JetStream
	layout streams.Layout
	begin  time.Time
}

func setup(t *testing.T) *bus {
	t.Helper()
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	return &bus{t, js, layout, time.Now().UTC().Truncate(time.Second)}
}

func (b *bus) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func keyOf(name string) order.Key {
	key, err := order.ParseKey(name)
	if err != nil {
		panic(err)
	}
	return key
}

// order writes the record of an order, and the other data of its phase.
func (b *bus) order(name string, r order.Record) {
	b.t.Helper()
	if r.Kind == "" {
		r.Kind = entrustbus.KindIssue
	}
	if r.RequestedAt.IsZero() {
		r.RequestedAt = b.begin
	}
	key := keyOf(name)
	l := ledger.New(b.js, b.layout.Orders)
	old, err := l.Get(b.t.Context(), key)
	b.check(err)
	_, err = l.Write(key, old, r, nil).Try(b.t.Context())
	b.check(err)
	if r.Phase.Waits() {
		b.check(wakeup.New(b.js, b.layout.Parked, b.layout.Subjects()).Schedule(b.t.Context(), &order.Wakeup{
			Key: key, Kind: r.Kind, Lane: order.LanePoll, Phase: r.Phase, Due: b.begin.Add(time.Hour), Polls: 3,
			Deadline: r.Deadline, TrackingID: r.TrackingID, Request: r.Request,
		}))
	}
}

func (b *bus) letter(name string, raw *order.Message) {
	b.t.Helper()
	b.check(deadletter.New(b.js, b.layout.Dead, b.layout.Subjects()).Put(b.t.Context(), &deadletter.Letter{Time: b.begin, Letter: order.Letter{
		Reason: order.Rejected, Key: keyOf(name), Kind: entrustbus.KindIssue, Why: "no", Request: *raw, ID: name,
	}}))
}

func (b *bus) asking(name, host string, enc entrustbus.Encoding) *order.Message {
	b.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.check(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}}, private)
	b.check(err)
	body, err := entrustbus.EncodeRequest(enc, &entrustbus.Issue{ID: keyOf(name).ID, CSRPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))})
	b.check(err)
	return &order.Message{Subject: b.layout.Subjects().Request(keyOf(name).Producer, entrustbus.KindIssue), Body: body,
		Header: map[string][]string{entrustbus.HeaderContentType: {enc.ContentType()}}}
}

// issued publishes the result of an order.
func (b *bus) issued(name, host, serial string) {
	b.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: b.begin.Add(time.Hour), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	b.check(err)
	key := keyOf(name)
	p, err := results.New(b.js, b.layout.Results, b.layout.Subjects()).Publish(key, &order.Conclusion{Encoding: entrustbus.EncodingJSON, Result: &entrustbus.Result{
		ID: key.ID, Producer: key.Producer, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeIssued, Serial: serial,
		CertificatePEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	}})
	b.check(err)
	_, err = p.Try(b.t.Context())
	b.check(err)
	b.check(certs.New(b.js, b.layout.Certs).Put(b.t.Context(), "ca", serial, certs.Certificate{Producer: key.Producer, Order: key.ID}, time.Hour))
}

func names(f *Found) string {
	var all []string
	for _, o := range f.Orders {
		all = append(all, o.Producer+"."+o.ID)
	}
	return strings.Join(all, " ")
}

func TestNewest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	refused := b.asking("web.failed", "failed.example", entrustbus.EncodingJSON)
	b.order("web.old", order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeIssued, Serial: "5f3a", RequestedAt: b.begin.Add(-time.Hour), TrackingID: "t-1"})
	b.issued("web.old", "www.old.example", "5f3a")
	b.letter("web.failed", refused)
	b.order("web.failed", order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeFailed})
	b.letter("web.again", refused)
	b.order("web.again", order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeIssued, Generation: 1, Serial: "77"}) // replayed since
	b.order("mail.waits", order.Record{Phase: order.Awaiting, Deadline: b.begin.Add(2 * time.Hour), TrackingID: "t-2", Request: b.asking("mail.waits", "waits.example", entrustbus.EncodingMsgpack)})
	b.order("mail.refused", order.Record{Phase: order.Unaccepted, Tries: 3})
	b.order("mail.revoked", order.Record{Phase: order.Closed, Kind: entrustbus.KindRevoke, Outcome: entrustbus.OutcomeRevoked, Serial: "77"})
	finder := New(b.js, b.layout, time.Now)
	for name, tc := range map[string]struct {
		query Query
		limit int
		want  string
	}{
		"all, the newest first":  {Query{}, 0, "mail.revoked mail.refused mail.waits web.again web.failed web.old"},
		"the newest two":         {Query{}, 2, "mail.revoked mail.refused +"},
		"a producer":             {Query{Producer: "mail"}, 0, "mail.revoked mail.refused mail.waits"},
		"an outcome":             {Query{Outcome: entrustbus.OutcomeFailed}, 0, "web.failed"},
		"another's outcome":      {Query{Outcome: entrustbus.OutcomeFailed, Producer: "mail"}, 0, ""},
		"a phase":                {Query{Phases: []order.Phase{order.Awaiting}}, 0, "mail.waits"},
		"a kind":                 {Query{Kind: entrustbus.KindRevoke}, 0, "mail.revoked"},
		"trouble":                {Query{Trouble: true}, 0, "mail.refused web.failed"},
		"a serial":               {Query{Serial: "5f3a"}, 0, "web.old"},
		"a serial of no entry":   {Query{Serial: "77"}, 0, "mail.revoked web.again"},
		"a tracking id":          {Query{TrackingID: "t-1"}, 0, "web.old"},
		"one of a waiting order": {Query{TrackingID: "t-2"}, 0, "mail.waits"},
		"a name of a result":     {Query{Name: "OLD.example"}, 0, "web.old"},
		"a name of a letter":     {Query{Name: "failed.ex"}, 0, "web.again web.failed"},
		"a name of a wake-up":    {Query{Name: "waits"}, 0, "mail.waits"},
		"an unknown name":        {Query{Name: "nobody.example"}, 0, ""},
		"older ones":             {Query{Before: b.begin.Add(-time.Minute)}, 0, "web.old"},
		"newer ones":             {Query{After: b.begin.Add(-time.Minute), Producer: "web"}, 0, "web.again web.failed"},
		"soon due":               {Query{WakeupBefore: b.begin.Add(time.Minute)}, 0, ""},
		"due":                    {Query{WakeupBefore: b.begin.Add(3 * time.Hour), Phases: []order.Phase{order.Awaiting}}, 0, "mail.waits"},
		"by deadline":            {Query{DeadlineBefore: b.begin.Add(3 * time.Hour)}, 0, "mail.waits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := finder.Newest(t.Context(), tc.query, tc.limit, 0)
			got := names(found)
			if found.More {
				got += " +"
			}
			if err != nil || got != tc.want || !found.Since.IsZero() {
				t.Errorf("found %q since %v, %v; want %q", got, found.Since, err, tc.want)
			}
		})
	}
	found, err := finder.Newest(t.Context(), Query{Phases: []order.Phase{order.Awaiting}}, 1, 0)
	if err != nil || len(found.Orders) != 1 || found.Orders[0].Polls != 3 || !found.Orders[0].NextWakeup.Equal(b.begin.Add(time.Hour)) || !slices.Equal(found.Orders[0].Names, []string{"dns:waits.example"}) {
		t.Errorf("a waiting order is shown as %+v, %v", found, err)
	}
}

// A search without time left says so, and still finds orders by its indexes.
func TestNewestEndsInTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.letter("web.failed", b.asking("web.failed", "failed.example", entrustbus.EncodingJSON))
	b.order("web.failed", order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeFailed})
	for n := range 3 {
		b.order(fmt.Sprint("web.", n), order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeIssued})
	}
	found, err := New(b.js, b.layout, time.Now).Newest(t.Context(), Query{Outcome: entrustbus.OutcomeIssued}, 0, 1)
	if err != nil || len(found.Orders) != 0 || found.Since.IsZero() {
		t.Errorf("found %q since %v, %v; want none, and since when", names(found), found.Since, err)
	}
}

func TestSerial(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"5F:3A": "5f3a", "0x005f3a": "5f3a", "5f3a": "5f3a", "": "", "serial": "", "-1": ""} {
		if got, ok := Serial(text); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %t", text, got, ok)
		}
	}
}
