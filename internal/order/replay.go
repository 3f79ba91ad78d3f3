package order

import "github.com/entrust-worker/entrust-worker/entrustbus"

// Replay is what a replay does with a closed order.
type Replay string

// The replays.
const (
	// ReplaySubmit submits the order as if it were new: the gateway has nothing of it.
	ReplaySubmit Replay = "submit"
	// ReplayResubmit submits the order although the gateway may have it, or something that it
	// made of it. The operator accepts that there may be a second one.
	ReplayResubmit Replay = "resubmit"
	// ReplayResume polls the order and never submits it again: the gateway has it.
	ReplayResume Replay = "resume"
)

// Refusal is why an order is not replayed, "" when it is.
type Refusal string

// The refusals.
const (
	RefusedAlive   Refusal = "still-alive"     // a worker handles it, or it waits
	RefusedIssued  Refusal = "already-issued"  // it has its certificate
	RefusedRevoked Refusal = "already-revoked" // the revocation was done
)

// ReplayOf is the replay policy: what the next generation of an order does, or why there is
// none. Workers, verbs and package replay use it.
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
		return ReplaySubmit, "" // a revocation or cancellation may be repeated
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
