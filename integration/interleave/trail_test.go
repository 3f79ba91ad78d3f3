package interleave

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// checkTrail checks that the audit trail is complete, and contains each end that had an
// external effect.
func (b *bubble) checkTrail(t *testing.T) {
	t.Helper()
	var v audit.Verifier
	ends := map[string]bool{}
	for m, err := range audit.Read(t.Context(), b.site.JS, b.site.Layout.Audit, 1) {
		if err != nil {
			t.Fatal(err)
		}
		v.Now = time.Now()
		v.Add(m)
		if r, err := audit.Decode(m.Body); err == nil && r.Outcome != "" {
			ends[entrustbus.ResultMsgID(r.Producer, r.Order, r.Generation)+" "+r.Outcome] = true
		}
	}
	for _, f := range v.Report().Faults {
		t.Error(f.Error())
	}
	for m, err := range streams.Scan(t.Context(), b.site.JS, b.site.Layout.Results, ">") {
		if err != nil {
			t.Fatal(err)
		}
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			t.Fatal(err)
		}
		r, err := entrustbus.DecodeResult(enc, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if r.Outcome == entrustbus.OutcomeFailed || r.Outcome == entrustbus.OutcomeRejected && r.Submissions == 0 {
			continue // some ends had no external effect
		}
		if id := entrustbus.ResultMsgID(r.Producer, r.ID, r.Replay) + " " + string(r.Outcome); !ends[id] {
			t.Errorf("the audit trail has no record of %s", id)
		}
	}
}
