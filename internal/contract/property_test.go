package contract

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

var (
	tokens  = rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`)
	labels  = rapid.MapOfN(rapid.StringMatching(`[a-z .ü]{1,20}`), rapid.StringN(-1, -1, 100), 0, 8)
	names   = rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[a-z0-9äöü/%]{1,40}`))
	seconds = rapid.Int64Range(0, entrustbus.MaxPollMaxWaitSeconds)
	sans    = rapid.SliceOfN(rapid.OneOf(
		rapid.StringMatching(`(dns:)?(\*\.)?[a-z][a-z0-9]{0,9}(\.[a-z]{2,8}){1,3}`),
		rapid.StringMatching(`(ip:)?10\.[1-9]{1,2}\.[1-9]\.[1-9]`),
		rapid.StringMatching(`(email:)?[a-z]{1,9}@[a-z]{1,9}\.net`),
		rapid.StringMatching(`(uri:)?https://[a-z]{1,9}/[a-z]{0,9}`),
	), 0, 6)
)

// validRequest draws a valid request of any kind.
func validRequest(t *rapid.T, csrPEM string, csrDER []byte) entrustbus.Request {
	csr := func() (string, []byte) {
		if rapid.Bool().Draw(t, "PEM") {
			return csrPEM, nil
		}
		return "", csrDER
	}
	id := tokens.Draw(t, "id")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 4:
		return &entrustbus.Resolve{ID: id, Order: tokens.Filter(func(s string) bool { return s != id }).Draw(t, "order"), Comment: names.Draw(t, "comment")}
	case 0:
		r := &entrustbus.Issue{
			ID: id, SANs: emptyIsNil(sans.Draw(t, "sans")), ProfileID: names.Draw(t, "profile_id"), CAID: names.Draw(t, "ca_id"),
			ValiditySeconds: seconds.Draw(t, "validity_seconds"), PollMaxWaitSeconds: seconds.Draw(t, "poll_max_wait_seconds"),
			MustStaple: rapid.Bool().Draw(t, "must_staple"), Strict: rapid.Bool().Draw(t, "strict"),
			Labels: noneIsNil(labels.Draw(t, "labels")),
		}
		if r.ValiditySeconds > 0 && rapid.Bool().Draw(t, "capped") {
			r.MaxValiditySeconds = r.ValiditySeconds
		}
		if rapid.Bool().Draw(t, "more") {
			r.Properties = map[string]any{
				"t": names.Draw(t, "text"), "n": rapid.Int64Range(-1<<53+1, 1<<53-1).Draw(t, "number"), "f": rapid.Float64Range(-1e6, 1e6).Draw(t, "float") + 1e-7, "b": true,
				"l": []any{rapid.StringMatching(`[a-zü]{0,9}`).Draw(t, "item"), int64(7), false},
			}
			r.SubjectVariables = []entrustbus.SubjectVariable{{Type: "CN", Value: "v" + names.Draw(t, "variable")}}
			r.Extensions = []entrustbus.Extension{{OID: "1.2.3", Critical: rapid.Bool().Draw(t, "critical"), Value: []byte{0x05, 0}}}
			r.EKUs = []string{rapid.SampledFrom([]string{"serverAuth", "1.3.6.1.5.5.7.3.2"}).Draw(t, "eku")}
		}
		r.CSRPEM, r.CSRDER = csr()
		return r
	case 1:
		return &entrustbus.Revoke{
			ID: id, Serial: rapid.StringMatching(`(0x)?[1-9a-fA-F][0-9a-fA-F]{0,39}`).Draw(t, "serial"),
			Reason: rapid.SampledFrom(append(entrustbus.Reasons(), "removeFromCRL", "")).Draw(t, "reason"), IssueCRL: rapid.Bool().Draw(t, "issue_crl"),
			Comment: names.Draw(t, "comment"), CAID: names.Draw(t, "ca_id"), Labels: noneIsNil(labels.Draw(t, "labels")),
		}
	case 2:
		r := &entrustbus.Track{
			ID: id, TrackingID: "t" + names.Draw(t, "tracking_id"), CAID: names.Draw(t, "ca_id"),
			PollMaxWaitSeconds: seconds.Draw(t, "poll_max_wait_seconds"), Labels: noneIsNil(labels.Draw(t, "labels")),
		}
		if rapid.Bool().Draw(t, "with a certificate request") {
			r.CSRPEM, r.CSRDER = csr()
		}
		return r
	}
	return &entrustbus.Cancel{ID: id, Order: tokens.Filter(func(s string) bool { return s != id }).Draw(t, "order"), Labels: noneIsNil(labels.Draw(t, "labels"))}
}

func emptyIsNil(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return s
}

func noneIsNil(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func TestRequestsRoundTrip(t *testing.T) {
	t.Parallel()
	text, der := testdata(t, "request.pem"), csrDER(t)
	rapid.Check(t, func(t *rapid.T) {
		r := validRequest(t, text, der)
		enc := rapid.SampledFrom(encodings).Draw(t, "encoding")
		body, err := entrustbus.EncodeRequest(enc, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := entrustbus.DecodeRequest(r.Kind(), enc, body)
		if err != nil {
			t.Fatal(err)
		}
		if d := difference(got, r); d != "" {
			t.Fatal(d)
		}
		again, err := entrustbus.EncodeRequest(enc, got)
		if err != nil || string(again) != string(body) {
			t.Fatalf("encoding again gave %q, %v, want %q", again, err, body)
		}
		one, err := entrustbus.Digest(r)
		if err != nil {
			t.Fatal(err)
		}
		if two, err := entrustbus.Digest(got); err != nil || two != one {
			t.Fatalf("the digests differ, %v", err)
		}
	})
}

// A changed byte of a message must not make the reader panic, or fail with anything but a
// *FieldError.
func TestBentRequests(t *testing.T) {
	t.Parallel()
	text, der := testdata(t, "request.pem"), csrDER(t)
	rapid.Check(t, func(t *rapid.T) {
		r := validRequest(t, text, der)
		enc := rapid.SampledFrom(encodings).Draw(t, "encoding")
		body, err := entrustbus.EncodeRequest(enc, r)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		body = body[:rapid.IntRange(0, len(body)).Draw(t, "length")]
		checkDecoded(t, r.Kind(), enc, body)
	})
}

// checkDecoded decodes a body and checks the properties of the answer.
func checkDecoded(t interface{ Fatalf(string, ...any) }, kind entrustbus.Kind, enc entrustbus.Encoding, body []byte) {
	r, err := entrustbus.DecodeRequest(kind, enc, body)
	if err != nil {
		var f *entrustbus.FieldError
		if !errors.As(err, &f) || f.Field == "" {
			t.Fatalf("got %T %v, want a *FieldError with a field", err, err)
		}
		return
	}
	if err := r.Validate(); err != nil {
		t.Fatalf("a decoded request is not valid: %v", err)
	}
	digest, err := entrustbus.Digest(r)
	if err != nil {
		t.Fatalf("a decoded request has no digest: %v", err)
	}
	for _, other := range encodings {
		again, err := entrustbus.EncodeRequest(other, r)
		if err != nil {
			t.Fatalf("a decoded request cannot be encoded: %v", err)
		}
		twin, err := entrustbus.DecodeRequest(kind, other, again)
		if err != nil {
			t.Fatalf("a decoded request cannot be decoded again in %v: %v", other, err)
		}
		if d := difference(twin, r); d != "" {
			t.Fatalf("decoded again in %v: %s", other, d)
		}
		if d, err := entrustbus.Digest(twin); err != nil || d != digest {
			t.Fatalf("decoded again in %v: another digest, %v", other, err)
		}
	}
}

func TestResultsRoundTrip(t *testing.T) {
	t.Parallel()
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-62135596799, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
	})
	classes := []entrustbus.Class{
		entrustbus.ClassTimeout, entrustbus.ClassAuth, entrustbus.ClassRateLimited, entrustbus.ClassValidation, entrustbus.ClassUpstream5xx,
		entrustbus.ClassUpstream4xx, entrustbus.ClassNetwork, entrustbus.ClassPolicy, entrustbus.ClassOther,
	}
	rapid.Check(t, func(t *rapid.T) {
		r := &entrustbus.Result{
			Version: 1, ID: tokens.Draw(t, "id"), Producer: tokens.Draw(t, "producer"),
			Kind:    rapid.SampledFrom([]entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel}).Draw(t, "kind"),
			Outcome: rapid.SampledFrom([]entrustbus.Outcome{entrustbus.OutcomeIssued, entrustbus.OutcomeFailed, entrustbus.OutcomeUnconfirmed}).Draw(t, "outcome"),
			Serial:  rapid.StringMatching(`[0-9a-f]{0,40}`).Draw(t, "serial"), ChainPEM: rapid.String().Draw(t, "chain"),
			NotBefore: instant.Draw(t, "not_before"), NotAfter: instant.Draw(t, "not_after"), FinishedAt: instant.Draw(t, "finished_at"),
			Submissions: rapid.IntRange(0, 1<<31-1).Draw(t, "submissions"), Polls: rapid.IntRange(0, 300).Draw(t, "polls"),
			Replay: rapid.IntRange(0, 9).Draw(t, "replay"), PossibleDuplicate: rapid.Bool().Draw(t, "possible_duplicate"),
			Labels: noneIsNil(labels.Draw(t, "labels")),
		}
		if rapid.Bool().Draw(t, "error") {
			r.Error = &entrustbus.ResultError{
				Class: rapid.SampledFrom(classes).Draw(t, "class"), Code: rapid.String().Draw(t, "code"),
				Message: rapid.String().Draw(t, "message"), HTTPStatus: rapid.IntRange(0, 599).Draw(t, "http_status"),
			}
		}
		enc := rapid.SampledFrom(encodings).Draw(t, "encoding")
		body, err := entrustbus.EncodeResult(enc, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := entrustbus.DecodeResult(enc, body)
		if err != nil {
			t.Fatal(err)
		}
		if d := difference(got, r); d != "" {
			t.Fatal(d)
		}
	})
}
