package terminal

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows people how far something got, and only on a terminal. Make one with
// Terminal.Progress. It is safe for concurrent use.
type Progress struct{ bar *progressbar.ProgressBar }

// Progress counts to total, on standard error.
func (t *Terminal) Progress(total int, what string) *Progress {
	return &Progress{progressbar.NewOptions(total,
		progressbar.OptionSetWriter(t.Err),
		progressbar.OptionSetVisibility(Is(t.Err)),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
	)}
}

// Add counts n more. A terminal that cannot be written to is no reason to stop.
func (p *Progress) Add(n int) { _ = p.bar.Add(n) }

// Still shows that time passes.
func (p *Progress) Still() { _ = p.bar.RenderBlank() }

// End takes the display away.
func (p *Progress) End() { _ = p.bar.Finish() }
