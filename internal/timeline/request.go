package timeline

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// maxQueued bounds the requests of each kind that are read to find an order that no
// worker has begun. The stream of requests has no batched reads.
const maxQueued = 500

// Asked fills in the facts from a request: names, subject, labels, validity, and values
// that the record does not have yet. cut is the validity that the policy allowed, 0 if it
// changed nothing. A nil or unreadable request changes nothing.
func (f *Facts) Asked(subjects entrustbus.Subjects, raw *order.Message, cut time.Duration) {
	if raw == nil {
		return
	}
	q := order.Read(subjects, raw, order.Limits{})
	if q.Body == nil {
		return
	}
	f.Labels = q.Body.LabelMap()
	ca, profile := q.CA()
	f.CAID, f.ProfileID = cmp.Or(f.CAID, ca), cmp.Or(f.ProfileID, profile)
	switch b := q.Body.(type) {
	case *entrustbus.Issue:
		if names, err := b.Names(); err == nil {
			f.Names = nil
			for _, n := range names {
				f.Names = append(f.Names, nameText(n))
			}
		}
		if csr, err := b.CertificateRequest(); err == nil {
			f.Subject = csr.Subject.String()
		}
		f.Subject = cmp.Or(b.SubjectDN, f.Subject)
		f.Validity = validity(b, cut)
	case *entrustbus.Revoke:
		if n, err := b.SerialNumber(); err == nil && f.Serial == "" {
			f.Serial = n.Text(16)
		}
	case *entrustbus.Track:
		f.TrackingID = cmp.Or(f.TrackingID, b.TrackingID)
	}
}

// nameText formats a name in the form of requests.
func nameText(n entrustbus.SAN) string {
	switch n.Type {
	case entrustbus.SANDNS:
		return "dns:" + n.Value
	case entrustbus.SANIP:
		return "ip:" + n.Value
	case entrustbus.SANEmail:
		return "email:" + n.Value
	case entrustbus.SANURI:
		return "uri:" + n.Value
	}
	return "other name"
}

// validity formats the requested validity and the policy's limit.
func validity(b *entrustbus.Issue, cut time.Duration) string {
	days := func(seconds int64) string {
		d := time.Duration(seconds) * time.Second
		if d%(24*time.Hour) == 0 {
			return fmt.Sprintf("%dd", d/(24*time.Hour))
		}
		return d.String()
	}
	text := b.ValidityPeriod
	switch {
	case b.ValiditySeconds > 0:
		text = days(b.ValiditySeconds)
	case b.MaxValiditySeconds > 0:
		text = "at most " + days(b.MaxValiditySeconds)
	}
	if cut > 0 {
		text += ", cut to " + days(int64(cut/time.Second)) + " by the policy"
	}
	return text
}

// Issued fills in the facts from the certificate of a result: names, subject and
// validity.
func (f *Facts) Issued(r *entrustbus.Result) {
	f.NotBefore, f.NotAfter = r.NotBefore, r.NotAfter
	block, _ := pem.Decode([]byte(r.CertificatePEM))
	if block == nil {
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return
	}
	f.Names, f.Subject = nil, cert.Subject.String()
	for _, n := range cert.DNSNames {
		f.Names = append(f.Names, "dns:"+n)
	}
	for _, n := range cert.IPAddresses {
		f.Names = append(f.Names, "ip:"+n.String())
	}
	for _, n := range cert.EmailAddresses {
		f.Names = append(f.Names, "email:"+n)
	}
	for _, n := range cert.URIs {
		f.Names = append(f.Names, "uri:"+n.String())
	}
}

// waiting is a request that no worker has begun in this generation.
type waiting struct {
	since  time.Time
	kind   entrustbus.Kind
	before int // requests of its kind before it, at most maxQueued
}

// queued searches the stream of requests for an order without a record, and reports
// whether it is there.
func (t *telling) queued(ctx context.Context) bool {
	st, err := t.JS.Stream(ctx, t.Layout.Requests)
	if err != nil {
		t.note("the stream of requests cannot be read: %v", err)
		return false
	}
	for _, kind := range []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel} {
		next := uint64(1)
		for n := range maxQueued {
			m, err := st.GetMsg(ctx, next, jetstream.WithGetMsgSubject(t.subjects.Request(t.key.Producer, kind)))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				t.note("the stream of requests cannot be read: %v", err)
				return false
			}
			raw := &order.Message{Subject: m.Subject, Header: m.Header, Body: m.Data}
			q := order.Unread(t.subjects, raw)
			if q.Key.ID == "" { // without the header, the id is in the body
				q = order.Read(t.subjects, raw, order.Limits{})
			}
			if q.Key == t.key {
				t.story.Kind, t.story.Requested = kind, m.Time.UTC()
				t.waiting = &waiting{since: m.Time, kind: kind, before: n}
				t.add(m.Time, Received, 0, FromRequest, fmt.Sprintf("%s, in stream %s as message %d", kind, t.Layout.Requests, m.Sequence))
				t.story.Asked(t.subjects, raw, 0)
				return true
			}
			next = m.Sequence + 1
			if n+1 == maxQueued {
				t.note("only the oldest %d %s requests of the producer were looked at", maxQueued, kind)
			}
		}
	}
	return false
}

// kept returns the request of the record if its stream still has it, else nil.
func (t *telling) kept(ctx context.Context) *order.Message {
	if t.rec.Origin.Sequence == 0 {
		return nil
	}
	m, err := streams.At(ctx, t.JS, t.Layout.Requests, t.rec.Origin.Sequence)
	if err != nil || !m.Time.Equal(t.rec.Origin.Time) {
		return nil
	}
	return &order.Message{Subject: m.Subject, Header: m.Header, Body: m.Data}
}
