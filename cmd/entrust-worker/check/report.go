package check

import (
	"fmt"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// report prints the checks in a form, and returns the exit code as an error.
func report(t *terminal.Terminal, form string, all []checked) error {
	worst := stateOK
	for _, c := range all {
		// A check that was not tried failed for a reason that another one reports.
		if c.state == stateCritical || c.state == stateWarning && worst == stateOK {
			worst = c.state
		}
	}
	switch form {
	case "json":
		if err := terminal.PrintIndented(t.Out, struct {
			OK     bool      `json:"ok"`
			Checks []checked `json:"checks"`
		}{worst != stateCritical, all}); err != nil {
			return err
		}
	case "nagios":
		t.Printf("%s\n", nagios(worst, all))
		if worst != stateOK {
			return usage.Code(worst)
		}
		return nil
	default:
		for _, c := range all {
			t.Printf("%-8s %-9s %s\n", c.State, c.Name, c.Detail)
		}
	}
	if worst == stateCritical {
		return usage.Code(usage.Failed)
	}
	return nil
}

// nagios is the one line a Nagios plugin prints: state, text, performance data.
func nagios(worst int, all []checked) string {
	var reported, perf []string
	for _, c := range all {
		if c.state == stateCritical || c.state == stateWarning {
			reported = append(reported, c.Name+": "+c.Detail)
		}
		perf = append(perf, fmt.Sprintf("'%s'=%.4fs", c.Name, c.Seconds))
	}
	if len(reported) == 0 {
		reported = []string{"all checks passed"}
	}
	// A bar would begin the performance data.
	text := strings.ReplaceAll(strings.Join(reported, "; "), "|", "/")
	return fmt.Sprintf("ENTRUST-WORKER %s - %s | %s",
		[...]string{"OK", "WARNING", "CRITICAL"}[worst], text, strings.Join(perf, " "))
}
