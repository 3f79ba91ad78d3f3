package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows people how far something got. Nothing is shown elsewhere than on a
// terminal. It is safe for concurrent use.
type progress struct{ bar *progressbar.ProgressBar }

// newProgress counts to total.
func newProgress(w io.Writer, total int, what string) *progress {
	return &progress{progressbar.NewOptions(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(isTerminal(w)),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
	)}
}

// add counts n more. A terminal that cannot be written to is no reason to stop.
func (p *progress) add(n int) { _ = p.bar.Add(n) }

// still shows that time passes.
func (p *progress) still() { _ = p.bar.RenderBlank() }

// end takes the display away.
func (p *progress) end() { _ = p.bar.Finish() }
