package snapshot

import (
	"time"
)

// Severity is how much a problem matters.
type Severity string

// The severities.
const (
	// Warning is what an operator looks at today.
	Warning Severity = "warning"
	// Critical is what keeps orders from progress, or the fleet from being seen.
	Critical Severity = "critical"
)

// Problem is one thing that is wrong.
type Problem struct {
	Severity Severity `json:"severity"`
	// Text is one line: what is wrong, with the figures. It is untrusted.
	Text string `json:"text"`
	// Do is what to do, as the arguments of entrust-worker or a sentence; empty for none.
	Do string `json:"do,omitempty"`
}

// Problems returns what is wrong, the worst first. now is by this host's clock.
func (s Snapshot) Problems(now time.Time) []Problem {
	return nil
}

// Worst returns the severity of the first of them; empty for none.
func Worst(problems []Problem) Severity {
	if len(problems) == 0 {
		return ""
	}
	return problems[0].Severity
}
