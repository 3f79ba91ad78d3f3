package consumer

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// newAudit returns the audit trail of a worker, nil when the layout has none.
func newAudit(w *Worker) *audit.Log {
	if !w.cfg.Layout.Audited {
		return nil
	}
	return audit.New(audit.Config{
		JS: w.js, Stream: w.cfg.Layout.Audit, Subjects: w.subjects, Chain: w.id, Key: w.cfg.AuditKey,
		Now: w.now, Policy: w.policyName, Blocked: w.metrics.AuditBlocked, Log: w.log,
	})
}

// audited waits until the audit trail accepts records. No order begins before that.
func (w *Worker) audited(stop context.Context) error {
	if w.audit == nil {
		return nil
	}
	return w.audit.Wait(stop)
}

// audit writes the record of a decision to the audit trail, and waits until it is stored. The
// order is closed only after that. stands is the result in force, for a decision that ends the
// order.
func (h *handling) audit(ctx context.Context, a *order.Audit, stands *entrustbus.Result) error {
	if a.Result != nil && stands != nil {
		a = a.Of(stands)
	}
	return h.w.audit.Append(h.live(ctx), a.ID(h.key), recordOf(h.key, a))
}

// recordOf builds the audit record of a decision.
func recordOf(key order.Key, a *order.Audit) *audit.Record {
	r := a.Record
	out := &audit.Record{
		Decision: string(a.Act), Producer: key.Producer, Order: key.ID, Kind: string(r.Kind), Generation: r.Generation,
		Operator: text(a.Operator), Reason: text(a.Reason), KeyID: text(a.KeyID), Digest: hex.EncodeToString(r.Digest),
		How: a.How, CAID: r.CAID, ProfileID: r.ProfileID, TrackingID: r.TrackingID,
		Submissions: r.Submissions, SubmittedAt: r.SubmittedAt, PossibleDuplicate: r.PossibleDuplicate,
		Policy: policyName(r.PolicyDigest),
	}
	res := a.Result
	if res == nil {
		return out
	}
	out.Generation, out.Outcome, out.Serial, out.TrackingID = res.Replay, string(res.Outcome), res.Serial, res.TrackingID
	out.Submissions, out.SubmittedAt, out.PossibleDuplicate = res.Submissions, res.SubmittedAt, res.PossibleDuplicate
	if e := res.Error; e != nil {
		out.Code = e.Code
		if a.Act == order.ActDenied {
			out.Rule = e.Message
		}
	}
	return out
}

// text bounds a header for the audit trail: a publisher may send any text.
func text(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most]
	}
	return s
}

// policyName is the name of a policy in logs and in the audit trail: the first half of its
// digest.
func policyName(digest []byte) string { return hex.EncodeToString(digest[:len(digest)/2]) }

// policyName is the name of the policy in force, "" without a policy.
func (w *Worker) policyName() string {
	if w.cfg.Policy == nil {
		return ""
	}
	digest := w.cfg.Policy().Digest()
	return policyName(digest[:])
}

// watchEvery is how often the worker checks for a new policy or new credentials, for the audit
// trail.
const watchEvery = 5 * time.Second

// runAudit runs the audit trail until closeAudit, or until ctx is done. It records changes of
// policy and credentials until stop is done.
func (w *Worker) runAudit(ctx, stop context.Context, aside *sync.WaitGroup) {
	if w.audit == nil {
		return
	}
	go w.audit.Run(ctx)
	aside.Go(func() {
		was := map[string]string{audit.DecisionPolicy: w.policyName(), audit.DecisionCredentials: w.credentials()}
		t := time.NewTicker(watchEvery)
		defer t.Stop()
		for {
			select {
			case <-stop.Done():
				return
			case <-t.C:
			}
			is := map[string]string{audit.DecisionPolicy: w.policyName(), audit.DecisionCredentials: w.credentials()}
			for decision, now := range is {
				if now == was[decision] {
					continue
				}
				if w.audit.Append(stop, "", &audit.Record{Decision: decision, Was: was[decision], Is: now}) == nil {
					was[decision] = now
				}
			}
		}
	})
}

// credentials names the client certificate in use, "" when it is unknown.
func (w *Worker) credentials() string {
	if w.cfg.Credentials == nil {
		return ""
	}
	return w.cfg.Credentials()
}

// closeAudit writes the last head of the chain.
func (w *Worker) closeAudit(ctx context.Context) {
	if w.audit == nil {
		return
	}
	if err := w.audit.Close(ctx); err != nil {
		w.log.Warn("closing the audit trail; its chain ends without a head", "err", err)
	}
}
