package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

type jobKey struct{}

// WithJobID names the job of a call. All calls for one job are one order, for as long as the worker keeps it, even if their
// other values differ.
func WithJobID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, jobKey{}, id)
}

// sort is the purpose of an order. Its id begins with it.
type sort string

const (
	sortJob    sort = "job"
	sortIssue  sort = "issue"
	sortRenew  sort = "renew"
	sortRevoke sort = "revoke"
)

// idOf is a valid id that is the same each time the content is the same.
func idOf(s sort, content any) string {
	b, err := json.Marshal(content)
	if err != nil {
		panic("entrustbus/issuer: " + err.Error()) // strings and numbers always marshal
	}
	sum := sha256.Sum256(b)
	return string(s) + "-" + hex.EncodeToString(sum[:20])
}

// wanted is compared to find the same order for requests without a job id. The key does not count.
type wanted struct {
	CommonName, CAID, ProfileID string
	Names, EKUs                 []string
	MaxTTLSeconds               int64
	MustStaple                  bool
	Window                      int64
}

// whatIsWanted reads a valid request.
func whatIsWanted(r *entrustbus.Issue) (wanted, error) {
	csr, err := r.CertificateRequest()
	if err != nil {
		return wanted{}, err
	}
	names, err := namesOf(r)
	if err != nil {
		return wanted{}, err
	}
	ekus := make([]string, len(r.EKUs))
	for i, usage := range r.EKUs {
		ekus[i] = strings.ToLower(strings.TrimSpace(usage))
	}
	slices.Sort(ekus)
	return wanted{
		CommonName: strings.TrimSuffix(strings.ToLower(csr.Subject.CommonName), "."), CAID: r.CAID, ProfileID: r.ProfileID,
		Names: names, EKUs: slices.Compact(ekus), MaxTTLSeconds: r.MaxValiditySeconds, MustStaple: r.MustStaple,
	}, nil
}

// namesOf are the names that a certificate is asked for, sorted.
func namesOf(r *entrustbus.Issue) ([]string, error) {
	names, err := r.Names()
	if err != nil {
		return nil, err
	}
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = fmt.Sprintf("%s:%s%x", name.Type, name.Value, name.DER)
	}
	slices.Sort(all)
	return all, nil
}

// withoutIdleSANs leaves out names that only repeat those of the certificate request, which some gateways have no place
// for.
func withoutIdleSANs(r *entrustbus.Issue) error {
	asked, err := namesOf(r)
	if err != nil {
		return err
	}
	bare := *r
	bare.SANs = nil
	if own, err := namesOf(&bare); err == nil && slices.Equal(asked, own) {
		r.SANs = nil
	}
	return nil
}

// identify gives a request its id, and reports whether there is such an order.
func (i *Issuer) identify(ctx context.Context, s sort, r *entrustbus.Issue, renewed *string) (exists bool, err error) {
	if job, ok := ctx.Value(jobKey{}).(string); ok && job != "" {
		r.ID = idOf(sortJob, job)
		return i.exists(ctx, r.ID, 0)
	}
	if renewed != nil && *renewed != "" {
		r.ID = idOf(s, *renewed)
		return i.exists(ctx, r.ID, 0)
	}
	current, before, err := windowIDs(s, r, i.cfg.WindowSeconds, time.Now())
	if err != nil {
		return false, err
	}
	r.ID = current
	if exists, err := i.exists(ctx, current, 0); exists || err != nil {
		return exists, err
	}
	if exists, err = i.exists(ctx, before, time.Duration(i.cfg.WindowSeconds)*time.Second); exists {
		r.ID = before
	}
	return exists, err
}

// windowIDs are the id of a valid request in the window of an instant, and in the window before that.
func windowIDs(s sort, r *entrustbus.Issue, seconds int64, at time.Time) (current, before string, err error) {
	content, err := whatIsWanted(r)
	if err != nil {
		return "", "", err
	}
	content.Window = at.Unix() / seconds
	current = idOf(s, content)
	content.Window--
	return current, idOf(s, content), nil
}

// exists reports whether there is an order of that id: one that is open, or one with a result whose request is not older
// than within. 0: of any age.
func (i *Issuer) exists(ctx context.Context, id string, within time.Duration) (bool, error) {
	result, err := i.client.Lookup(ctx, id)
	switch {
	case err == nil:
		return within == 0 || time.Since(result.RequestedAt) < within, nil
	case !errors.Is(err, entrustbus.ErrNoResult):
		return false, err
	}
	_, err = i.client.Order(ctx, id)
	if errors.Is(err, entrustbus.ErrNoOrder) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for order %s: %w", id, err)
	}
	return true, nil
}
