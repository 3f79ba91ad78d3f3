// Package renewal finds the certificates that expire: from the results, and from the bucket
// that keeps whose a certificate is to the end of its validity.
//
// A certificate that was revoked, or renewed, is none of them. It is renewed where the
// producer has another certificate for the same names that ends later; where the names are
// not known, for the same key. What the results no longer hold, the bucket alone tells: only
// workers with a policy write it, and a revocation from before the results is not known.
package renewal

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/san"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Certificate is one that expires.
type Certificate struct {
	Producer string `json:"producer"`
	Order    string `json:"order"`
	// CAID and ProfileID are "" where an entry of an older worker alone tells of it.
	CAID      string `json:"ca_id,omitempty"`
	ProfileID string `json:"profile_id,omitempty"`
	// Serial is in lower-case hexadecimal.
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
	// Names are those of the certificate, as a request has them: dns:a.example. None where
	// nothing tells.
	Names []string `json:"names,omitempty"`
	// Key is the hash of its public key.
	Key    string            `json:"key"`
	Labels map[string]string `json:"labels,omitempty"`
	// NoResult says that the results no longer hold it: a revocation may be unknown.
	NoResult bool `json:"no_result,omitempty"`
}

// Expiring reads the certificates that end within a time from now, those that end first in
// front. "" is every producer. It holds some 200 bytes for each certificate that is in force.
func Expiring(ctx context.Context, js jetstream.JetStream, layout streams.Layout, producer string, now time.Time, within time.Duration) ([]Certificate, error) {
	s := search{now: now, until: now.Add(within), seen: map[string]bool{}, revoked: map[string]bool{}, latest: map[string]time.Time{}}
	subjects := layout.Subjects()
	for m, err := range streams.Scan(ctx, js, layout.Results, subjects.Result(cmp.Or(producer, "*"), "*")) {
		if err != nil {
			return nil, fmt.Errorf("reading the results: %w", err)
		}
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			continue // no worker of this version wrote it
		}
		if r, err := entrustbus.DecodeResult(enc, m.Data); err == nil {
			s.result(r)
		}
	}
	if producer != "" {
		// An operator, or an incident, revokes as another producer.
		for m, err := range streams.Scan(ctx, js, layout.Results, subjects.ResultFilter()) {
			if err != nil {
				return nil, fmt.Errorf("reading the results: %w", err)
			}
			enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
			if err != nil || m.Header.Get(entrustbus.HeaderKind) != string(entrustbus.KindRevoke) {
				continue
			}
			if r, err := entrustbus.DecodeResult(enc, m.Data); err == nil {
				s.result(r)
			}
		}
	}
	for e, err := range certs.New(js, layout.Certs).All(ctx) {
		if err != nil {
			return nil, err
		}
		if producer == "" || e.Producer == producer {
			s.entry(e)
		}
	}
	return s.end(), nil
}

// search is one reading.
type search struct {
	now, until time.Time
	seen       map[string]bool      // by CA and serial
	revoked    map[string]bool      // by CA and serial
	latest     map[string]time.Time // end of the last certificate of a producer for names, or for a key
	found      []Certificate
}

func place(ca, serial string) string { return ca + "." + strings.TrimLeft(serial, "0") }

// result takes a result in.
func (s *search) result(r *entrustbus.Result) {
	at := place(certs.Token(r.CAID), r.Serial)
	switch {
	case r.Outcome == entrustbus.OutcomeRevoked:
		s.revoked[at] = true
	case r.Outcome == entrustbus.OutcomeIssued && r.NotAfter.After(s.now) && !s.seen[at]:
		block, _ := pem.Decode([]byte(r.CertificatePEM))
		if block == nil {
			return
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return
		}
		s.seen[at] = true
		s.add(Certificate{
			Producer: r.Producer, Order: r.ID, CAID: r.CAID, ProfileID: r.ProfileID, Serial: r.Serial, NotAfter: r.NotAfter,
			Names: namesOf(cert), Key: keys.Hash(cert.RawSubjectPublicKeyInfo), Labels: r.Labels,
		})
	}
}

// entry takes an entry of the bucket in, of which no result was read.
func (s *search) entry(e certs.Entry) {
	at := place(e.CA, e.Serial)
	if s.seen[at] || s.revoked[at] || !e.Ends.After(s.now) {
		return
	}
	s.add(Certificate{
		Producer: e.Producer, Order: e.Order, CAID: e.CAID, ProfileID: e.ProfileID, Serial: e.Serial, NotAfter: e.Ends.UTC(),
		Names: strings.Fields(e.Names), Key: e.Key, NoResult: true,
	})
}

func (s *search) add(c Certificate) {
	for _, key := range c.kin() {
		if c.NotAfter.After(s.latest[key]) {
			s.latest[key] = c.NotAfter
		}
	}
	if !c.NotAfter.After(s.until) {
		s.found = append(s.found, c)
	}
}

// kin are what another certificate has in common with one that it renews: the names, or the
// key where the names are not known.
func (c *Certificate) kin() []string {
	byKey := c.Producer + " key " + c.Key
	if len(c.Names) == 0 {
		return []string{byKey}
	}
	return []string{c.Producer + " " + strings.Join(slices.Sorted(slices.Values(c.Names)), " "), byKey}
}

// end leaves out what was revoked or renewed.
func (s *search) end() []Certificate {
	found := slices.DeleteFunc(s.found, func(c Certificate) bool {
		// Another certificate for the same key renews one whose names are known only where
		// it has those names.
		return s.latest[c.kin()[0]].After(c.NotAfter) || s.revoked[place(certs.Token(c.CAID), c.Serial)]
	})
	slices.SortFunc(found, func(a, b Certificate) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Producer, b.Producer), cmp.Compare(a.Order, b.Order))
	})
	return found
}

// namesOf are the names of a certificate, as a request has them, each once; its common name
// where it has no others.
func namesOf(cert *x509.Certificate) []string {
	all := map[string]bool{}
	names, err := san.Read(cert.Extensions)
	if err == nil {
		for _, n := range names {
			if text := certs.JoinNames([]entrustbus.SAN{n}); text != "" {
				all[text] = true
			}
		}
	}
	if len(all) == 0 && cert.Subject.CommonName != "" {
		all["cn:"+cert.Subject.CommonName] = true
	}
	return slices.Sorted(maps.Keys(all))
}
