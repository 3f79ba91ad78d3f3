package status

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

// redrawEvery is how often the screen is drawn again without a reading: ages grow.
const redrawEvery = time.Second

const keysHelp = `q      end            r          read now
?      this help      p          pause, go on
↑ ↓ j k  a line       PgUp PgDn  a page
g      first line`

// reader reads snapshots. *snapshot.Reader implements it.
type reader interface {
	Read(ctx context.Context) snapshot.Snapshot
}

// screen is the live screen: what it shows, as one value. It reads one snapshot at a time.
type screen struct {
	ctx    context.Context // of the readings
	reader reader
	now    func() time.Time
	every  time.Duration
	colour bool

	s             snapshot.Snapshot
	width, height int
	first         int // line of the snapshot at the top
	help, paused  bool
	reading       bool
	turn          int // counts readings: what was due after an earlier one is not
}

// The messages beside those of keys and sizes.
type (
	readMsg   snapshot.Snapshot // a reading ended
	nextMsg   int               // the reading after this turn is due
	redrawMsg struct{}
)

// show runs the live screen until a key or ctx ends it.
func show(ctx context.Context, t *terminal.Terminal, r reader, every time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the reading under way
	m := screen{ctx: ctx, reader: r, now: t.Now, every: every, colour: t.Colours(), width: t.Width(), reading: true}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithEnvironment(t.Environ), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil // there was no other end
	}
	if err != nil {
		return fmt.Errorf("showing the live screen: %w", err)
	}
	return nil
}

// Init begins the first reading.
func (m screen) Init() tea.Cmd { return tea.Batch(m.read, redraw()) }

func (m screen) read() tea.Msg { return readMsg(m.reader.Read(m.ctx)) }

func redraw() tea.Cmd {
	return tea.Tick(redrawEvery, func(time.Time) tea.Msg { return redrawMsg{} })
}

// Update takes in a message.
func (m screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.first = m.scrolled(0)
	case tea.KeyPressMsg:
		return m.pressed(msg.String())
	case redrawMsg:
		return m, redraw()
	case readMsg:
		m.s, m.reading = snapshot.Snapshot(msg), false
		m.first = m.scrolled(0)
		turn := nextMsg(m.turn)
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return turn })
	case nextMsg:
		if !m.paused && int(msg) == m.turn {
			return m.begin()
		}
	}
	return m, nil
}

// begin begins a reading, unless one is under way.
func (m screen) begin() (tea.Model, tea.Cmd) {
	if m.reading {
		return m, nil
	}
	m.reading = true
	m.turn++
	return m, m.read
}

func (m screen) pressed(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q", "esc", "ctrl+c":
		if m.help && key != "ctrl+c" {
			m.help = false
			return m, nil
		}
		return m, tea.Quit
	case "?", "h":
		m.help = !m.help
	case "p":
		m.paused = !m.paused
		if !m.paused {
			return m.begin()
		}
	case "r":
		return m.begin()
	case "up", "k":
		m.first = m.scrolled(-1)
	case "down", "j":
		m.first = m.scrolled(1)
	case "pgup":
		m.first = m.scrolled(-m.room())
	case "pgdown", "space":
		m.first = m.scrolled(m.room())
	case "home", "g":
		m.first = 0
	}
	return m, nil
}

// room is how many lines of the snapshot fit between head and foot.
func (m screen) room() int { return max(1, m.height-3) }

// scrolled is the first line after a step, within the snapshot.
func (m screen) scrolled(by int) int {
	return max(0, min(m.first+by, len(m.lines())-m.room()))
}

func (m screen) lines() []string {
	if m.s.At.IsZero() {
		return []string{"reading the fleet from NATS …"}
	}
	return m.printer().lines(m.s)
}

func (m screen) printer() printer {
	return printer{now: m.now(), width: m.width, colour: m.colour}
}

// View draws the screen.
func (m screen) View() tea.View {
	v := tea.NewView(m.text())
	v.AltScreen = true
	v.WindowTitle = "entrust-worker status"
	return v
}

// text is the whole screen: a head, the part of the snapshot that fits, and a foot.
func (m screen) text() string {
	p := m.printer()
	lines := m.lines()
	if m.help {
		lines = strings.Split(keysHelp, "\n")
	} else {
		lines = lines[m.first:]
	}
	room := m.room()
	more := max(0, len(lines)-room)
	if more > 0 {
		lines = lines[:room]
	}
	for i := range lines {
		lines[i] = p.fit(lines[i])
	}
	foot := "q end  ? keys"
	switch {
	case m.help:
		foot = "? back"
	case more > 0:
		foot += fmt.Sprintf("  ↓ %d more lines", more)
	}
	all := append([]string{m.head(p)}, lines...)
	for len(all) < room+1 {
		all = append(all, "")
	}
	return strings.Join(append(all, "", p.fit(foot)), "\n")
}

// head says of when the figures are, and whether they still are.
func (m screen) head(p printer) string {
	line := p.paint(text.Bold, "entrust-worker status") + "  "
	switch {
	case m.s.At.IsZero():
	case m.s.NATS.Problem != "" && m.s.NATS.Answered.IsZero():
		line += p.paint(text.FgRed, "not read yet")
	case m.s.NATS.Problem != "":
		line += p.paint(text.FgRed, "stale since "+m.s.NATS.Answered.Local().Format(time.TimeOnly)+", "+p.when(m.s.NATS.Answered))
	default:
		line += "read " + p.when(m.s.At)
	}
	if m.paused {
		line += "  " + p.paint(text.FgYellow, "paused: p goes on")
	}
	return p.fit(line)
}
