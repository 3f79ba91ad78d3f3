package terminal

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// Confirm asks an operator before something that cannot be taken back. It returns nil for
// a yes, a usage.Code for a no, and a usage.Error where there is no terminal to ask at.
func (t *Terminal) Confirm(question string) error {
	out, asked := t.Err, Is(t.Err)
	if Is(t.In) && !asked {
		// Standard error goes to a file, but an operator sits at the terminal.
		if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
			defer tty.Close()
			out, asked = tty, true
		}
	}
	if !Is(t.In) || !asked {
		return usage.WithHint(usage.Errorf("no terminal to ask at: %s", question), "pass --yes to do it without a question; --dry-run shows what the verb would do")
	}
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(t.In).ReadString('\n') // an end of input is a no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(out, "nothing was done")
	return usage.Code(usage.Failed)
}
