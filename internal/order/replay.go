package order

import "github.com/entrust-worker/entrust-worker/entrustbus"

// Replay is what a replay makes of a closed order.
type Replay string

// The replays.
const (
	// ReplaySubmit: the gateway holds nothing of it; it is submitted as if it were new.
	ReplaySubmit Replay = "submit"
	// ReplayResubmit: the gateway may hold it, or something else that it made of it; the
	// operator decides that there may be a second.
	ReplayResubmit Replay = "resubmit"
	// ReplayResume: the gateway holds it; it is polled, never submitted again.
	ReplayResume Replay = "resume"
)

// Refusal is why an order is not replayed, "" for none.
type Refusal string

// The refusals.
const (
	RefusedAlive   Refusal = "still-alive"     // a worker handles it, or it waits
	RefusedIssued  Refusal = "already-issued"  // it has its certificate
	RefusedRevoked Refusal = "already-revoked" // the revocation was done
)

// ReplayOf is the replay policy: what the next generation of an order does, or why
// there is none. Workers, verbs and dead letters all ask it.
func ReplayOf(r Record) (Replay, Refusal) {
	switch {
	case r.Phase != Closed:
		return "", RefusedAlive
	case r.Outcome == entrustbus.OutcomeIssued:
		return "", RefusedIssued
	case r.Outcome == entrustbus.OutcomeRevoked:
		return "", RefusedRevoked
	case r.Kind == entrustbus.KindTrack:
		return ReplayResume, ""
	case r.Kind != entrustbus.KindIssue:
		return ReplaySubmit, "" // may be repeated at will
	}
	switch r.Outcome {
	case entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled:
		if r.TrackingID != "" {
			return ReplayResume, ""
		}
	}
	if r.maybeDuplicate() {
		return ReplayResubmit, ""
	}
	return ReplaySubmit, ""
}
