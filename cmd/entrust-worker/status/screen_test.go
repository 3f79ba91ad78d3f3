package status

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

// countingReader reads the same snapshot again and again.
type countingReader struct {
	reads atomic.Int32
	s     snapshot.Snapshot
}

func (r *countingReader) Read(context.Context) snapshot.Snapshot {
	r.reads.Add(1)
	return r.s
}

func newScreen(r reader) screen {
	return screen{ctx: context.Background(), reader: r, now: noon, every: 5 * time.Second, width: 80, height: 20, reading: true}
}

// after is the screen after messages.
func after(m screen, messages ...tea.Msg) screen {
	for _, msg := range messages {
		next, _ := m.Update(msg)
		m = next.(screen)
	}
	return m
}

func key(text string) tea.Msg { return tea.KeyPressMsg{Text: text, Code: []rune(text)[0]} }

// The screen has the size of its terminal, whatever it shows and however that changes.
func TestScreenFits(t *testing.T) {
	t.Parallel()
	m := newScreen(new(countingReader))
	for _, size := range []tea.WindowSizeMsg{{Width: 80, Height: 24}, {Width: 40, Height: 8}, {Width: 200, Height: 100}, {Width: 60, Height: 4}} {
		for _, msg := range []tea.Msg{nil, readMsg(troubled()), key("?"), key("?"), key("j")} {
			m = after(m, size, msg)
			lines := strings.Split(m.text(), "\n")
			if len(lines) > size.Height {
				t.Errorf("%d lines at a height of %d after %v", len(lines), size.Height, msg)
			}
			for _, line := range lines {
				if n := len([]rune(line)); n > size.Width {
					t.Errorf("%d characters at a width of %d: %q", n, size.Width, line)
				}
			}
		}
	}
}

func TestScreenKeys(t *testing.T) {
	t.Parallel()
	m := newScreen(new(countingReader))
	if text := m.text(); !strings.Contains(text, "reading the fleet from NATS") {
		t.Errorf("before the first reading:\n%s", text)
	}
	m = after(m, readMsg(troubled()))
	top := m.text()
	if !strings.Contains(top, "\nWARNING ") || !strings.Contains(top, "more lines") || strings.Contains(top, "\x1b") {
		t.Errorf("the first lines are\n%s", top)
	}
	if down := after(m, key("j")); down.first != 1 || after(down, key("k")).text() != top {
		t.Errorf("a line down and up again begins at %d", down.first)
	}
	if end := after(m, key(" "), tea.KeyPressMsg{Code: tea.KeyPgDown}, tea.KeyPressMsg{Code: tea.KeyPgDown}, tea.KeyPressMsg{Code: tea.KeyPgDown}); !strings.Contains(end.text(), "nats-server 2.15.2") || strings.Contains(end.text(), "more lines") {
		t.Errorf("the last lines are\n%s", end.text())
	}
	help := after(m, key("?"))
	if !strings.Contains(help.text(), "this help") || after(help, key("q")).help || after(help, key("?")).text() != top {
		t.Errorf("the help is\n%s", help.text())
	}
	for _, quit := range []tea.Msg{key("q"), tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}} {
		if _, cmd := m.Update(quit); cmd == nil {
			t.Errorf("%v does not end the screen", quit)
		} else if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%v does not end the screen", quit)
		}
	}
}

// One reading follows another after a pause, whether the screen or a key asked for it, and none while it is paused.
func TestScreenReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &countingReader{s: troubled()}
		m := newScreen(r)
		next := func(msg tea.Msg) tea.Msg { // carries out what the message has the screen do
			t.Helper()
			model, cmd := m.Update(msg)
			m = model.(screen)
			if cmd == nil {
				return nil
			}
			return cmd()
		}
		begun := time.Now()
		due := next(m.read()) // the pause after the first reading
		if time.Since(begun) != 5*time.Second || r.reads.Load() != 1 {
			t.Fatalf("the next reading is due after %s, %d readings", time.Since(begun), r.reads.Load())
		}
		byHand := next(key("r")).(readMsg)
		if next(key("r")) != nil {
			t.Error("a second reading began beside the first")
		}
		later := next(byHand)
		if next(due) != nil || r.reads.Load() != 2 {
			t.Errorf("what was due before a reading by hand reads too: %d readings", r.reads.Load())
		}
		next(key("p"))
		if !strings.Contains(m.text(), "paused") || next(later) != nil {
			t.Error("the screen reads while it is paused")
		}
		if _, ok := next(key("p")).(readMsg); !ok || r.reads.Load() != 3 {
			t.Errorf("after the pause: %d readings", r.reads.Load())
		}
	})
}

// While NATS is away the figures stay, and the head says since when they are stale.
func TestScreenWithoutNATS(t *testing.T) {
	t.Parallel()
	m := after(newScreen(new(countingReader)), readMsg(troubled()))
	gone := troubled()
	gone.NATS.Connected, gone.NATS.Problem, gone.Lanes.Problem = false, "not connected to NATS", "not connected to NATS"
	m.now = func() time.Time { return noon().Add(90 * time.Second) }
	m = after(m, tea.WindowSizeMsg{Width: 80, Height: 100}, readMsg(gone))
	if text := m.text(); !strings.Contains(text, "stale since "+noon().Local().Format(time.TimeOnly)+", 1m30s ago") || !strings.Contains(text, "123456") {
		t.Errorf("the screen is\n%s", text)
	}
	m = after(m, readMsg(troubled()))
	if text := m.text(); strings.Contains(text, "stale") {
		t.Errorf("NATS is back, and the screen is\n%s", text)
	}
	m = after(newScreen(new(countingReader)), readMsg(snapshot.Unreachable(io.ErrUnexpectedEOF)))
	if text := m.text(); !strings.Contains(text, "not read yet") {
		t.Errorf("without a first reading, the screen is\n%s", text)
	}
}

// The program draws, obeys a key, gives the terminal back, and ends; and so it does with its context.
func TestShow(t *testing.T) {
	t.Parallel()
	keys, typed := io.Pipe()
	defer typed.Close()
	var out bytes.Buffer
	r := &readOnce{countingReader: countingReader{s: troubled()}, read: make(chan struct{})}
	done := make(chan error)
	term := &terminal.Terminal{In: keys, Out: &out, Err: io.Discard, Environ: []string{"TERM=xterm"}, Now: noon}
	go func() { done <- show(t.Context(), term, r, time.Hour) }()
	<-r.read
	if _, err := io.WriteString(typed, "q"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "\x1b[?1049h") || !strings.Contains(text, "\x1b[?1049l") {
		t.Errorf("the terminal got %q", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := show(ctx, term, r, time.Hour); err != nil {
		t.Errorf("an interrupt ends it with %v", err)
	}
}

// readOnce says when it was read first.
type readOnce struct {
	countingReader
	read chan struct{}
}

func (r *readOnce) Read(ctx context.Context) snapshot.Snapshot {
	if r.reads.Load() == 0 {
		defer close(r.read)
	}
	return r.countingReader.Read(ctx)
}
