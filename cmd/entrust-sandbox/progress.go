package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// progress shows how far a batch is: a bar on a terminal, otherwise a line now
// and then. Its nil value shows nothing. It is for one goroutine.
type progress struct {
	out  io.Writer
	bar  *progressbar.ProgressBar // nil: lines
	said string
	at   time.Time
}

// lineEvery is the least time between two lines where there is no terminal.
const lineEvery = time.Second

func newProgress(out io.Writer, quiet bool) *progress {
	if quiet {
		return nil
	}
	p := &progress{out: out}
	if width(out) > 0 {
		p.bar = progressbar.NewOptions(1,
			progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(24), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}),
		)
	}
	return p
}

// width is the width of the terminal that w is, 0 if it is none.
func width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return max(columns, 1)
}

// set shows the state of the batch: how many of its orders and revocations have a result.
func (p *progress) set(done, orders, revocations int, counts map[entrustbus.Outcome]int, parked int) {
	if p == nil {
		return
	}
	all := orders + revocations
	text := fmt.Sprintf("%d issued, %d revoked, %d rejected, %d waiting for approval",
		counts[entrustbus.OutcomeIssued], counts[entrustbus.OutcomeRevoked], counts[entrustbus.OutcomeRejected], parked)
	for _, outcome := range []entrustbus.Outcome{entrustbus.OutcomeFailed, entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled} {
		if n := counts[outcome]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, outcome)
		}
	}
	if p.bar != nil {
		if p.bar.GetMax() != all {
			p.bar.ChangeMax(max(all, 1))
		}
		p.bar.Describe(text)
		_ = p.bar.Set(done)
		return
	}
	text = fmt.Sprintf("%d of %d results (%d orders, %d revocations): %s", done, all, orders, revocations, text)
	if text == p.said || time.Since(p.at) < lineEvery && done < all {
		return
	}
	p.said, p.at = text, time.Now()
	fmt.Fprintln(p.out, text)
}

// end leaves the last state standing.
func (p *progress) end() {
	if p != nil && p.bar != nil {
		_ = p.bar.Exit()
		fmt.Fprintln(p.out)
	}
}
