package renewal_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/renewal"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

const day = 24 * time.Hour

// bench is a bus with certificates on it.
type bench struct {
	t      *testing.T
	js     jetstream.JetStream
	layout streams.Layout
	now    time.Time
	serial int64
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, js: testbed.Start(t).JetStream(t), layout: streams.DefaultLayout(), now: time.Now().UTC().Truncate(time.Second)}
	if _, err := streams.Provision(t.Context(), b.js, b.layout); err != nil {
		t.Fatal(err)
	}
	return b
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issued publishes the result of an order whose certificate ends after a time, and
// returns its serial.
func (b *bench) issued(producer, id string, ends time.Duration, key *ecdsa.PrivateKey, names ...string) string {
	b.t.Helper()
	b.serial++
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(b.serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: b.now.Add(-day), NotAfter: b.now.Add(ends),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	serial := fmt.Sprintf("%x", b.serial)
	b.publish(&entrustbus.Result{
		ID: id, Producer: producer, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeIssued, CAID: "ca-1", ProfileID: "web", Serial: serial,
		CertificatePEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), NotAfter: cert.NotAfter,
	})
	return serial
}

func (b *bench) publish(r *entrustbus.Result) {
	b.t.Helper()
	r.Version = entrustbus.Version
	body, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, r)
	if err != nil {
		b.t.Fatal(err)
	}
	msg := &nats.Msg{Subject: b.layout.Subjects().Result(r.Producer, r.ID), Data: body, Header: nats.Header{entrustbus.HeaderKind: {string(r.Kind)}}}
	if _, err := b.js.PublishMsg(b.t.Context(), msg); err != nil {
		b.t.Fatal(err)
	}
}

// keep writes the worker's entry of a certificate.
func (b *bench) keep(serial string, c certs.Certificate, ends time.Duration) {
	b.t.Helper()
	if err := certs.New(b.js, b.layout.Certs).Put(b.t.Context(), "ca-1", serial, c, ends); err != nil {
		b.t.Fatal(err)
	}
}

// orders returns the certificates that expire within 30 days.
func (b *bench) orders(producer string) string {
	b.t.Helper()
	found, err := renewal.Expiring(b.t.Context(), b.js, b.layout, producer, b.now, 30*day)
	if err != nil {
		b.t.Fatal(err)
	}
	var all []string
	for _, c := range found {
		all = append(all, c.Producer+"."+c.Order)
	}
	return strings.Join(all, " ")
}

func TestExpiring(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := newKey(t)
	b.issued("web", "later", 20*day, newKey(t), "l.example")
	b.issued("web", "soon", 10*day, newKey(t), "a.example", "b.example")
	b.issued("web", "far", 40*day, newKey(t), "f.example")
	b.issued("web", "ended", -time.Hour, newKey(t), "e.example")
	b.issued("web", "renewed", 9*day, key, "c.example", "d.example")
	b.issued("web", "renewal", 60*day, newKey(t), "d.example", "c.example")
	b.issued("web", "other-names", 8*day, key, "x.example") // of the same key: not renewed by the names of another
	b.issued("shop", "neighbour", 7*day, newKey(t), "f.example")
	revoked := b.issued("web", "revoked", 6*day, newKey(t), "r.example")
	b.publish(&entrustbus.Result{ID: "rev", Producer: "incident-x", Kind: entrustbus.KindRevoke, Outcome: entrustbus.OutcomeRevoked, CAID: "ca-1", Serial: "0" + revoked})
	if got, want := b.orders(""), "shop.neighbour web.other-names web.soon web.later"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := b.orders("web"), "web.other-names web.soon web.later"; got != want {
		t.Errorf("of web: got %q, want %q", got, want)
	}
}

// The bucket has certificates whose results are gone.
func TestExpiringWithoutResults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hash := func(n int) string { return strings.Repeat(fmt.Sprint(n), 64) }
	b.keep("a1", certs.Certificate{Producer: "web", Order: "named", Key: hash(1), CAID: "ca-1", ProfileID: "web", NotAfter: b.now.Add(10 * day), Names: "dns:a.example"}, 10*day)
	b.keep("a2", certs.Certificate{Producer: "web", Order: "old", Key: hash(2)}, 20*day) // of an older worker
	b.keep("a3", certs.Certificate{Producer: "web", Order: "old-renewed", Key: hash(3)}, 20*day)
	b.keep("a4", certs.Certificate{Producer: "web", Order: "old-renewal", Key: hash(3)}, 90*day)
	b.keep("a5", certs.Certificate{Producer: "web", Order: "renewed", Key: hash(5), NotAfter: b.now.Add(5 * day), Names: "dns:n.example"}, 5*day)
	b.issued("web", "renewal", 50*day, newKey(t), "n.example")
	if got, want := b.orders("web"), "web.named web.old"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	found, err := renewal.Expiring(t.Context(), b.js, b.layout, "", b.now, 30*day)
	if err != nil || len(found) != 2 {
		t.Fatalf("found %+v, %v", found, err)
	}
	if c := found[0]; !c.NoResult || c.ProfileID != "web" || fmt.Sprint(c.Names) != "[dns:a.example]" || !c.NotAfter.Equal(b.now.Add(10*day)) {
		t.Errorf("found %+v", c)
	}
	if off := found[1].NotAfter.Sub(b.now.Add(20 * day)).Abs(); off > time.Minute {
		t.Errorf("an entry without an end is off by %s", off)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	read := func(key *ecdsa.PrivateKey, names ...string) renewal.CSR {
		t.Helper()
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "cn"}, DNSNames: names}, key)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := renewal.ReadCSR(entrustbus.CSRPEM(der))
		if err != nil {
			t.Fatal(err)
		}
		return csr
	}
	key := newKey(t)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	hash := keys.Hash(spki)
	for name, row := range map[string]struct {
		cert renewal.Certificate
		csr  renewal.CSR
		fits bool
		sans string
	}{
		"the same names":                {renewal.Certificate{Names: []string{"dns:a.example", "dns:b.example"}}, read(newKey(t), "b.example", "a.example"), true, "[]"},
		"fewer names":                   {renewal.Certificate{Names: []string{"dns:a.example", "dns:b.example"}}, read(newKey(t), "a.example"), false, ""},
		"the same key":                  {renewal.Certificate{Key: hash}, read(key, "a.example"), true, "[]"},
		"the same key, asked for other": {renewal.Certificate{Key: hash, Names: []string{"dns:x.example"}}, read(key, "a.example"), true, "[dns:x.example]"},
		"another":                       {renewal.Certificate{Key: hash, Names: []string{"dns:x.example"}}, read(newKey(t), "a.example"), false, ""},
		"a common name alone":           {renewal.Certificate{Names: []string{"cn:cn"}}, read(newKey(t)), true, "[]"},
		"nothing known":                 {renewal.Certificate{}, read(newKey(t), "a.example"), false, ""},
	} {
		row.cert.Serial, row.cert.CAID, row.cert.ProfileID = "5f3a", "ca-1", "web"
		r := row.cert.Request([]renewal.CSR{row.csr})
		if (r != nil) != row.fits {
			t.Errorf("%s: got %+v", name, r)
			continue
		}
		if r == nil {
			continue
		}
		if err := r.Validate(); err != nil || r.ID != "renew-5f3a" || r.CSRPEM != row.csr.PEM || r.CAID != "ca-1" || r.ProfileID != "web" || fmt.Sprint(r.SANs) != row.sans {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	if id := renewal.ID(strings.Repeat("a", 80)); !entrustbus.ValidToken(id) {
		t.Errorf("the id %q is none", id)
	}
}
