// Package renewal finds expiring certificates, from the results and from the bucket of
// issued certificates, which keeps entries until their certificates end.
//
// It leaves out revoked and renewed certificates. A certificate is renewed if the
// producer has a later certificate for the same names. If the names are unknown, a later
// certificate for the same key counts. A certificate that the results no longer hold is
// only in the bucket. Only workers with a policy write the bucket, and revocations older
// than the results are unknown.
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

// Certificate is one expiring certificate.
type Certificate struct {
	Producer string `json:"producer"`
	Order    string `json:"order"`
	// CAID and ProfileID are "" if the certificate is known only from an entry of an
	// older worker.
	CAID      string `json:"ca_id,omitempty"`
	ProfileID string `json:"profile_id,omitempty"`
	// Serial is in lower-case hexadecimal.
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
	// Names are the certificate's names in the form of requests: dns:a.example. None if
	// unknown.
	Names []string `json:"names,omitempty"`
	// Key is the hash of its public key. See keys.Hash.
	Key    string            `json:"key"`
	Labels map[string]string `json:"labels,omitempty"`
	// NoResult says that the results no longer hold the certificate: a revocation may be
	// unknown.
	NoResult bool `json:"no_result,omitempty"`
}

// Expiring returns the certificates that end within a time from now, sorted by their end.
// A producer of "" means all producers. It keeps about 200 bytes in memory for each
// certificate in force.
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
		// Operators and incidents revoke under other producers.
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

// search is one run of Expiring.
type search struct {
	now, until time.Time
	seen       map[string]bool      // by CA and serial
	revoked    map[string]bool      // by CA and serial
	latest     map[string]time.Time // latest end of a producer's certificates for the same names or key
	found      []Certificate
}

func place(ca, serial string) string { return ca + "." + strings.TrimLeft(serial, "0") }

// result adds a result.
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

// entry adds an entry of the bucket for which no result was read.
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

// kin returns the keys under which a certificate and its renewal are compared: the names
// and the public key, or the public key alone if the names are unknown.
func (c *Certificate) kin() []string {
	byKey := c.Producer + " key " + c.Key
	if len(c.Names) == 0 {
		return []string{byKey}
	}
	return []string{c.Producer + " " + strings.Join(slices.Sorted(slices.Values(c.Names)), " "), byKey}
}

// end removes revoked and renewed certificates.
func (s *search) end() []Certificate {
	found := slices.DeleteFunc(s.found, func(c Certificate) bool {
		// If the names are known, a certificate for the same key is a renewal only if it
		// has the same names.
		return s.latest[c.kin()[0]].After(c.NotAfter) || s.revoked[place(certs.Token(c.CAID), c.Serial)]
	})
	slices.SortFunc(found, func(a, b Certificate) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Producer, b.Producer), cmp.Compare(a.Order, b.Order))
	})
	return found
}

// namesOf returns the names of a certificate in the form of requests, each once. Without
// names it returns the common name.
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
