package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

// minWidth is the narrowest that lines are fitted into.
const minWidth = 40

// printer writes a snapshot in lines for people.
type printer struct {
	now    time.Time
	width  int
	colour bool
}

// lines are the whole of a snapshot, problems first. None is wider than the printer, unless
// that is narrower than minWidth.
func (p printer) lines(s snapshot.Snapshot) []string {
	var all []string
	for _, part := range [][]string{
		p.problems(s), p.workers(s), p.held(s), p.lanes(s), p.parked(s), p.letters(s), p.streams(s), p.nats(s),
	} {
		if len(part) == 0 {
			continue
		}
		if len(all) > 0 {
			all = append(all, "")
		}
		all = append(all, part...)
	}
	return all
}

// problems are what is wrong with what to do about it, or one line that nothing is.
func (p printer) problems(s snapshot.Snapshot) []string {
	const indent = "          "
	found := s.Problems(p.now)
	if len(found) == 0 {
		inFlight, waiting := 0, uint64(0)
		for _, l := range s.Lanes.Of {
			inFlight, waiting = inFlight+l.InFlight, waiting+l.Backlog
		}
		return []string{p.fit(fmt.Sprintf("%s        workers %d, in flight %d, backlog %d, parked %d",
			p.paint(text.FgGreen, "OK"), len(s.Fleet.Of.Workers), inFlight, waiting, s.Parked.Of.Orders))}
	}
	var all []string
	for _, f := range found {
		word, colour := "WARNING ", text.FgYellow
		if f.Severity == snapshot.Critical {
			word, colour = "CRITICAL", text.FgRed
		}
		for i, line := range p.wrapped(f.Text, len(indent)) {
			if i == 0 {
				all = append(all, p.paint(colour, word)+"  "+line)
				continue
			}
			all = append(all, indent+line)
		}
		if f.Do != "" {
			for _, line := range p.wrapped("do: "+f.Do, len(indent)) {
				all = append(all, indent+line)
			}
		}
	}
	return all
}

func (p printer) workers(s snapshot.Snapshot) []string {
	if !s.Fleet.Known() && !s.Fleet.Stale() {
		return nil // nothing was asked for
	}
	head := p.head("WORKERS", len(s.Fleet.Of.Workers), s.Fleet.At, s.Fleet.Stale())
	if len(s.Fleet.Of.Workers) == 0 {
		return head
	}
	g := grid{columns: []column{{name: "NAME", flexible: true, end: true}, {name: "VERSION", most: 16, optional: true}, {name: "UP", optional: true}, {name: "SEEN"}, {name: "CERTIFICATE", optional: true}, {name: "CLOCK", optional: true}}}
	for _, w := range s.Fleet.Of.Workers {
		certificate, clock := "", ""
		switch {
		case w.CertificateProblem != "":
			certificate = "unusable"
		case !w.CertificateEnd.IsZero() && w.CertificateEnd.Before(p.now):
			certificate = "ended"
		case !w.CertificateEnd.IsZero():
			certificate = "ends in " + terminal.Span(w.CertificateEnd.Sub(p.now))
		}
		if w.SkewKnown {
			clock = skewText(w.Skew)
		}
		seen := p.ago(w.Seen)
		if w.Silent {
			seen = "silent " + seen
		}
		g.add(w.Worker, w.Version, p.ago(w.Started), seen, certificate, clock)
	}
	return append(head, p.rows(g)...)
}

// held are the breakers, pauses and suspensions: why calls wait.
func (p printer) held(s snapshot.Snapshot) []string {
	if !s.Fleet.Known() {
		return nil
	}
	f, stale := s.Fleet.Of, s.Fleet.Stale()
	var all []string
	if len(f.Breakers) > 0 {
		g := grid{columns: []column{{name: "OPERATION"}, {name: "CA", most: 20}, {name: "OPEN FOR"}, {name: "NEXT CANARY"}, {name: "CAUSE", flexible: true}}}
		for _, b := range f.Breakers {
			next := "due"
			if b.Next.After(p.now) {
				next = "in " + terminal.Span(b.Next.Sub(p.now))
			}
			g.add(b.Operation, b.CA, p.ago(b.Since), next, b.Cause)
		}
		all = append(append(all, p.head("OPEN BREAKERS", len(f.Breakers), s.Fleet.At, stale)...), p.rows(g)...)
	}
	if len(f.Pauses) > 0 {
		g := grid{columns: []column{{name: "ENDS IN"}, {name: "REPORTED BY", flexible: true, end: true}}}
		for _, u := range f.Pauses {
			g.add(terminal.Span(u.Until.Sub(p.now)), u.Worker)
		}
		all = append(append(all, p.head("PAUSES", len(f.Pauses), s.Fleet.At, stale)...), p.rows(g)...)
	}
	if len(f.Suspensions) > 0 {
		g := grid{columns: []column{{name: "SUSPENDED", flexible: true}, {name: "FOR"}, {name: "BY", most: 16}, {name: "REASON", most: 30}}}
		for _, u := range f.Suspensions {
			g.add(u.Scope.String(), p.ago(u.Since), u.Operator, u.Reason)
		}
		all = append(append(all, p.head("SUSPENSIONS", len(f.Suspensions), s.Fleet.At, stale)...), p.rows(g)...)
	}
	if len(all) == 0 {
		return p.head("No open breaker, no pause, no suspension", -1, s.Fleet.At, stale)
	}
	return all
}

func (p printer) lanes(s snapshot.Snapshot) []string {
	if !s.Lanes.Known() {
		return nil
	}
	g := grid{columns: []column{{name: "LANE", flexible: true}, {name: "IN FLIGHT", right: true}, {name: "BACKLOG", right: true}, {name: "OLDEST", right: true}}}
	for _, l := range s.Lanes.Of {
		g.add(l.Name, fmt.Sprint(l.InFlight), fmt.Sprint(l.Backlog), p.ago(l.Oldest))
	}
	return append(p.head("LANES", -1, s.Lanes.At, s.Lanes.Stale()), p.rows(g)...)
}

func (p printer) parked(s snapshot.Snapshot) []string {
	if !s.Parked.Known() {
		return nil
	}
	all := p.head("PARKED ORDERS", int(s.Parked.Of.Orders), s.Parked.At, s.Parked.Stale())
	w := s.Fleet.Of.Watchdog
	if !w.Counted.IsZero() {
		line := fmt.Sprintf("%s ago: awaiting %d, unaccepted %d, indeterminate %d", p.ago(w.Counted), w.Waiting.Awaiting, w.Waiting.Unaccepted, w.Waiting.Indeterminate)
		if w.Waiting.Other > 0 {
			line += fmt.Sprintf(", other %d", w.Waiting.Other)
		}
		if !w.OldestSince.IsZero() {
			line += ", oldest " + p.ago(w.OldestSince)
		}
		if w.NextDue.After(p.now) {
			line += ", next due in " + terminal.Span(w.NextDue.Sub(p.now))
		}
		all = append(all, p.indented(line)...)
	}
	if s.Fleet.Known() {
		all = append(all, p.indented(fmt.Sprintf("watchdog: last scan %s, last scan of every record %s", p.when(w.Scanned), p.when(w.ScannedAll)))...)
	}
	return all
}

func (p printer) letters(s snapshot.Snapshot) []string {
	if !s.Letters.Known() {
		return nil
	}
	total := uint64(0)
	g := grid{columns: []column{{name: "REASON", flexible: true}, {name: "COUNT", right: true}, {name: "OLDEST", right: true}}}
	for _, l := range s.Letters.Of {
		if total += l.Count; l.Count > 0 {
			g.add(string(l.Reason), fmt.Sprint(l.Count), p.ago(l.Oldest))
		}
	}
	all := p.head("DEAD LETTERS", int(total), s.Letters.At, s.Letters.Stale())
	if total > 0 {
		all = append(all, p.rows(g)...)
	}
	return all
}

func (p printer) streams(s snapshot.Snapshot) []string {
	if !s.Streams.Known() {
		return nil
	}
	g := grid{columns: []column{{name: "STREAM", flexible: true}, {name: "MESSAGES", right: true}, {name: "SIZE", right: true}, {name: "FULL", right: true}, {name: "REPLICAS", right: true}, {name: "LAST", right: true}}}
	for _, u := range s.Streams.Of {
		fullness, replicas := "", fmt.Sprint(u.Replicas)
		if u.MaxBytes > 0 || u.MaxMessages > 0 {
			fullness = fmt.Sprintf("%.0f %%", 100*u.Fullness)
		}
		if u.Behind > 0 {
			replicas = fmt.Sprintf("%d, %d behind", u.Replicas, u.Behind)
		}
		g.add(u.Name, fmt.Sprint(u.Messages), size(u.Bytes), fullness, replicas, p.ago(u.Last))
	}
	return append(p.head("STREAMS", -1, s.Streams.At, s.Streams.Stale()), p.rows(g)...)
}

func (p printer) nats(s snapshot.Snapshot) []string {
	if s.NATS.URL == "" {
		return nil
	}
	state := "connected to "
	if !s.NATS.Connected {
		state = "was connected to "
	}
	line := fmt.Sprintf("NATS %s%s, nats-server %s", state, s.NATS.URL, s.NATS.Version)
	if !s.NATS.Answered.IsZero() {
		line += fmt.Sprintf(", round trip %v, its clock is at %s of this host's", s.NATS.RTT.Round(10*time.Microsecond), skewText(s.NATS.Skew))
	}
	return p.wrapped(line, 0)
}

// head is the title of a part, with how many it has, below 0 for no number, and since when its
// figures are stale.
func (p printer) head(title string, n int, at time.Time, stale bool) []string {
	line := p.paint(text.Bold, title)
	switch {
	case stale && at.IsZero():
		return []string{line + "  " + p.paint(text.FgYellow, "never read")}
	case n >= 0:
		line += fmt.Sprintf("  %d", n)
	}
	if stale {
		line += "  " + p.paint(text.FgYellow, "stale since "+at.Local().Format(time.TimeOnly)+", "+terminal.Span(p.now.Sub(at))+" ago")
	}
	return []string{p.fit(line)}
}

// ago is how long ago an instant was, "" for none.
func (p printer) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return terminal.Span(max(0, p.now.Sub(t)))
}

func (p printer) when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return p.ago(t) + " ago"
}

func (p printer) indented(line string) []string {
	all := p.wrapped(line, 2)
	for i := range all {
		all[i] = "  " + all[i]
	}
	return all
}

// wrapped are the lines of a text, beside an indent.
func (p printer) wrapped(line string, indent int) []string {
	all := strings.Split(text.WrapSoft(terminal.Plain(line), p.room()-indent), "\n")
	for i := range all {
		all[i] = strings.TrimRight(all[i], " ")
	}
	return all
}

func (p printer) room() int { return max(p.width, minWidth) }

// fit cuts a line that is too wide.
func (p printer) fit(line string) string { return text.Snip(line, p.room(), "…") }

func (p printer) paint(c text.Color, word string) string {
	if !p.colour {
		return word
	}
	return c.EscapeSeq() + word + text.Reset.EscapeSeq()
}

// skewText says how far a clock is from this one.
func skewText(skew time.Duration) string {
	switch d := skew.Abs(); {
	case d < time.Millisecond:
		return "±0"
	case d < time.Second:
		return fmt.Sprintf("%+dms", skew.Milliseconds())
	case skew < 0:
		return "-" + terminal.Span(d)
	default:
		return "+" + terminal.Span(d)
	}
}

// size is a number of bytes in the largest unit that leaves a digit.
func size(bytes uint64) string {
	units, n, i := []string{"B", "KiB", "MiB", "GiB", "TiB"}, float64(bytes), 0
	for ; n >= 1024 && i < len(units)-1; i++ {
		n /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
