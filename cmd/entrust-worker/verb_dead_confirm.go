package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// confirm asks people before something that cannot be taken back. Where nobody can be
// asked it refuses.
func confirm(in io.Reader, out io.Writer, question string) error {
	if !isTerminal(in) || !isTerminal(out) {
		return withHint(usagef("there is nobody to ask: %s", strings.ToLower(question[:1])+question[1:]), "--yes goes ahead, --dry-run shows what would be done")
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
