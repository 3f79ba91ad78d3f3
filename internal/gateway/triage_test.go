package gateway

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var allOps = []Op{OpEnroll, OpPoll, OpRevoke, OpFind, OpProbe}

// everything calls f with each possible combination. An exchange without an answer has status 0.
func everything(f func(op Op, phase phase, status int, body meaning)) {
	for _, op := range allOps {
		for _, phase := range []phase{phaseNoKeyPair, phaseBadClient, phaseAbandoned, phaseUnsent, phaseUnprocessed, phaseClientAuth, phaseNoAnswer} {
			f(op, phase, 0, meansNothing)
		}
		for _, phase := range []phase{phaseAnswered, phaseCut, phaseOversize, phaseEarly} {
			for status := 100; status <= 999; status++ {
				for body := meansNothing; body <= meansYoung; body++ {
					f(op, phase, status, body)
				}
			}
		}
	}
}

// TestTriageRowsAreReachable fails for a row that a broader row hides, and for a combination
// without a row, for which judge would panic.
func TestTriageRowsAreReachable(t *testing.T) {
	t.Parallel()
	hit := map[string]bool{}
	everything(func(op Op, phase phase, status int, body meaning) { hit[judge(op, phase, status, body).name] = true })
	seen := map[string]bool{}
	for _, r := range triage {
		if seen[r.name] {
			t.Errorf("two rows are called %q", r.name)
		}
		seen[r.name] = true
		if !hit[r.name] {
			t.Errorf("row %q is never reached", r.name)
		}
	}
}

// TestTriageNeverRisksADuplicate checks the most important rule. Only proof lets the caller send
// an enrollment again (NotAccepted, Throttled, Unauthorized) or end it (Refused, NotFound). A
// status alone is no proof, except 401 and 429.
func TestTriageNeverRisksADuplicate(t *testing.T) {
	t.Parallel()
	unsent := []phase{phaseNoKeyPair, phaseBadClient, phaseAbandoned, phaseUnsent, phaseUnprocessed, phaseClientAuth, phaseEarly}
	ownWords := []meaning{meansError, meansLicence}
	everything(func(op Op, phase phase, status int, body meaning) {
		row := judge(op, phase, status, body)
		over := slices.Contains([]Fate{NotAccepted, Throttled, Unauthorized, Refused, NotFound}, row.end.fate)
		proof := slices.Contains(unsent, phase) || status == 401 || status == 429 || body == meansCertless ||
			slices.Contains(ownWords, body) && (only2xx.has(status) || all4xx.has(status) || status == 501 || status == 503)
		if op == OpEnroll && over && !proof {
			t.Errorf("phase %d, status %d, body %d: row %q lets it be sent again, or ends it", phase, status, body, row.name)
		}
	})
}

// TestTriageIsDocumented compares the table in docs/gateway.md with the table in the code.
func TestTriageIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, r := range triage {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", r.name, opsText(r.ops), endText(r.end), classText(r.end))
	}
	if !strings.Contains(string(page), want.String()) {
		t.Errorf("docs/gateway.md does not hold this table:\n%s", want.String())
	}
}

func opsText(ops []Op) string {
	if ops == nil {
		return "all"
	}
	var s []string
	for _, op := range ops {
		s = append(s, string(op))
	}
	return strings.Join(s, ", ")
}

func endText(e end) string {
	switch {
	case e.state != 0:
		return "answer: " + e.state.String()
	case e.fate != 0:
		return e.fate.String()
	}
	return "done"
}

func classText(e end) string {
	switch {
	case e.class != "":
		return "`" + e.class + "`"
	case e.fate != 0:
		return "`timeout` or `network`"
	}
	return ""
}
