package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// confirm asks people before something that cannot be taken back. Where nobody can be
// asked it refuses.
func confirm(in io.Reader, out io.Writer, question string) error {
	asked := isTerminal(out)
	if isTerminal(in) && !asked {
		// Errors go to a file, but somebody sits there.
		if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
			defer tty.Close()
			out, asked = tty, true
		}
	}
	if !isTerminal(in) || !asked {
		return withHint(usagef("nobody can be asked: %s", question), "--yes goes ahead, --dry-run shows what would be done")
	}
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(in).ReadString('\n') // an end of input is a no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(out, "nothing was done")
	return codeError(exitFailure)
}
