package statuspage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

// state is the result of the last reading. It is a plain value.
type state struct {
	snapshot snapshot.Snapshot
	// producers is from producersAt. uncounted says that the reading after it failed.
	producers   Producers
	producersAt time.Time
	uncounted   bool
	// counted says that the producers were read with the snapshot.
	counted bool
	// tried is when the last reading ended.
	tried time.Time
}

// look reads the bus and notifies browsers. With counted it also counts producers, which
// reads results. It does nothing if the last reading is recent enough.
func (p *Page) look(ctx context.Context, counted bool) {
	p.reading.Lock()
	defer p.reading.Unlock()
	p.mu.Lock()
	s := p.state
	p.mu.Unlock()
	if time.Since(s.tried) < liveEvery/2 && (s.counted || !counted) {
		return
	}
	s.counted = false
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	p.read(ctx, &s, counted)
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return // the worker stops, or the browser has gone
	}
	s.tried = time.Now() // do not start another reading right after a slow one
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	close(p.changed)
	p.changed = make(chan struct{})
}

// status shows the current state of the fleet.
func (p *Page) status(w http.ResponseWriter, r *http.Request) {
	p.look(r.Context(), true)
	p.mu.Lock()
	s := p.state
	p.mu.Unlock()
	p.show(w, http.StatusOK, "status", head{Title: "Status", Nav: "status", Live: "/live"}, p.body(s))
}

// live sends the page of the fleet after each reading of the bus.
func (p *Page) live(w http.ResponseWriter, r *http.Request) {
	var changed chan struct{}
	p.stream(w, r, "status", func() any {
		p.mu.Lock()
		s := p.state
		changed = p.changed
		p.mu.Unlock()
		if s.tried.IsZero() {
			return nil
		}
		return p.body(s)
	}, func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-changed:
		}
	})
}

// stream sends a page as events: the result of read, then again after each wait. read
// returns nil if there is nothing to show yet.
func (p *Page) stream(w http.ResponseWriter, r *http.Request, name string, read func() any, wait func(context.Context)) {
	if !p.enter() {
		http.Error(w, fmt.Sprintf("%d browsers follow the page.", maxViewers), http.StatusServiceUnavailable)
		return
	}
	defer p.leave()
	ctx, cancel := context.WithTimeout(r.Context(), streamFor)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	// Otherwise a proxy would buffer events.
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }() // the connection may be reused
	for ; ctx.Err() == nil; wait(ctx) {
		var b bytes.Buffer
		if body := read(); body != nil {
			if err := p.pages[name].ExecuteTemplate(&b, "main", body); err != nil {
				p.cfg.Log.Error("rendering the status page", "page", name, "err", err)
				return
			}
		}
		// Some writers have no deadline: then the worker notices later that a browser has
		// gone.
		_ = out.SetWriteDeadline(time.Now().Add(sendTime))
		if _, err := w.Write(event(b.Bytes())); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
}

// event encodes a page as an event. Without a page it only sets the retry time.
func event(page []byte) []byte {
	if len(page) == 0 {
		return []byte("retry: 2000\n\n")
	}
	b := []byte("retry: 2000\nevent: page\n")
	for line := range bytes.Lines(page) {
		b = append(b, "data: "...)
		b = append(b, bytes.TrimRight(line, "\r\n")...)
		b = append(b, '\n')
	}
	return append(b, '\n')
}

// enter counts a browser that follows the page. It returns false if there are maxViewers
// already.
func (p *Page) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.viewers >= maxViewers {
		return false
	}
	p.viewers++
	select {
	case p.entered <- struct{}{}:
	default:
	}
	return true
}

func (p *Page) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.viewers--
}

// watched reports whether a browser follows the page.
func (p *Page) watched() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.viewers > 0
}
