package statuspage

import (
	"context"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/span"
)

// Fleet reads the state of the fleet. *snapshot.Reader implements it.
type Fleet interface {
	Read(ctx context.Context) snapshot.Snapshot
}

// Counter counts the newest results by producer. *Recent implements it.
type Counter interface {
	Read(ctx context.Context) (Producers, error)
}

const (
	// fullnessWarns is the fullness from which the page marks a stream or a reason.
	fullnessWarns = 0.8
	// certificateWarns is the time before its end from which the page marks a
	// certificate.
	certificateWarns = 14 * 24 * time.Hour
)

// read reads the bus into s.
func (p *Page) read(ctx context.Context, s *state, counted bool) {
	s.snapshot = p.cfg.Fleet.Read(ctx)
	p.history.take(s.snapshot)
	if !counted {
		return
	}
	s.counted = true
	if s.uncounted = !s.snapshot.NATS.Connected; s.uncounted {
		return
	}
	producers, err := p.cfg.Recent.Read(ctx)
	if s.uncounted = err != nil; err == nil {
		s.producers, s.producersAt = producers, time.Now()
	}
}

// body builds the view from the state.
func (p *Page) body(s state) statusView {
	now, snap := time.Now(), s.snapshot
	v := statusView{Known: snap.Streams.Known() || snap.Fleet.Known()}
	for _, problem := range snap.Problems(now) {
		shown := problemView{Level: levelWarn, Word: "Warning", Text: problem.Text, Do: problem.Do}
		if problem.Severity == snapshot.Critical {
			shown.Level, shown.Word = levelBad, "Critical"
		}
		v.Problems = append(v.Problems, shown)
	}
	v.Sections = []section{
		figuresNow(snap, now),
		p.lastHour(snap, now),
		gatewayNow(snap, now),
		lanesNow(snap, now),
		lettersNow(snap, now),
		waitingNow(snap, now),
		producersNow(s, now),
		workersNow(snap, now),
		streamsNow(snap, now),
	}
	return v
}

// figuresNow are the most important figures.
func figuresNow(s snapshot.Snapshot, now time.Time) section {
	out := section{ID: "now", Title: "Now"}
	connection := figure{Name: "NATS", Value: "connected", Level: levelOK, Note: s.NATS.URL, read: read{At: s.NATS.Answered}}
	if !s.NATS.Connected {
		connection.Value, connection.Level, connection.Word, connection.Stale = "away", levelBad, "", !s.NATS.Answered.IsZero()
		connection.Note = s.NATS.Problem
	}
	out.Figures = append(out.Figures, connection)
	if f := s.Fleet; f.Known() {
		live, silent := 0, 0
		for _, w := range f.Of.Workers {
			if w.Silent {
				silent++
			} else {
				live++
			}
		}
		workers := figure{Name: "Workers", Value: thousands(int64(live)), read: readOf(f)}
		if silent > 0 {
			workers.Level, workers.Word = levelWarn, fmt.Sprintf("%d silent", silent)
		}
		breakers := figure{Name: "Open breakers", Value: thousands(int64(len(f.Of.Breakers))), read: readOf(f)}
		if len(f.Of.Breakers) > 0 {
			breakers.Level, breakers.Word = levelBad, "see Gateway"
		}
		out.Figures = append(out.Figures, workers, breakers)
	}
	if l := s.Lanes; l.Known() {
		var backlog uint64
		inFlight := 0
		oldest := time.Time{}
		for _, lane := range l.Of {
			backlog += lane.Backlog
			inFlight += lane.InFlight
			if !lane.Oldest.IsZero() && (oldest.IsZero() || lane.Oldest.Before(oldest)) {
				oldest = lane.Oldest
			}
		}
		out.Figures = append(out.Figures,
			figure{Name: "Backlog", Value: thousands(int64(backlog)), Note: "oldest " + age(oldest, now), read: readOf(l)},
			figure{Name: "In flight", Value: thousands(int64(inFlight)), read: readOf(l)})
	}
	if s.Parked.Known() {
		out.Figures = append(out.Figures, figure{Name: "Parked orders", Value: thousands(int64(s.Parked.Of.Orders)), read: readOf(s.Parked)})
	}
	if s.Letters.Known() {
		var letters uint64
		for _, l := range s.Letters.Of {
			letters += l.Count
		}
		f := figure{Name: "Dead letters", Value: thousands(int64(letters)), read: readOf(s.Letters)}
		if letters > 0 {
			f.Level, f.Word = levelWarn, "to be looked at"
		}
		out.Figures = append(out.Figures, f)
	}
	for _, f := range []figure{certificateNow(s, now), clockNow(s)} {
		if f.Name != "" {
			out.Figures = append(out.Figures, f)
		}
	}
	return out
}

// certificateNow is the client certificate that ends first; the zero figure if no worker
// reports one.
func certificateNow(s snapshot.Snapshot, now time.Time) figure {
	var ends time.Time
	problem := ""
	for _, w := range s.Fleet.Of.Workers {
		if w.CertificateProblem != "" {
			problem = w.CertificateProblem
		}
		if !w.CertificateEnd.IsZero() && (ends.IsZero() || w.CertificateEnd.Before(ends)) {
			ends = w.CertificateEnd
		}
	}
	if ends.IsZero() && problem == "" {
		return figure{}
	}
	f := figure{Name: "Client certificate", Value: until(ends, now), Note: "ends " + day(ends), read: readOf(s.Fleet)}
	switch left := ends.Sub(now); {
	case problem != "":
		f.Level, f.Word, f.Note = levelBad, "unusable", problem
	case left <= 0:
		f.Value, f.Level, f.Word = "ended", levelBad, "expired"
	case left < certificateWarns:
		f.Level, f.Word = levelWarn, "replace it"
	}
	return f
}

func clockNow(s snapshot.Snapshot) figure {
	if s.NATS.Answered.IsZero() {
		return figure{}
	}
	skew := s.NATS.Skew.Abs()
	f := figure{Name: "Clock skew", Value: fmt.Sprintf("%d ms", skew.Milliseconds()), Note: "of NATS server and this host", read: read{s.NATS.Answered, !s.NATS.Connected || s.Streams.Stale()}}
	if skew >= time.Second {
		f.Value = span.Of(skew)
	}
	return f
}

// lastHour returns the section with the plots.
func (p *Page) lastHour(s snapshot.Snapshot, now time.Time) section {
	streams, lanes, parked := readOf(s.Streams), readOf(s.Lanes), readOf(s.Parked)
	h := &p.history
	return section{ID: "hour", Title: "The last hour", Note: "Of the whole fleet, as this worker has seen it since its start.", Plots: []plot{
		newPlot("plot-results", "Results", "a minute", h.rates(func(s sample) uint64 { return s.results }), now, streams),
		newPlot("plot-letters", "Dead letters", "a minute", h.rates(func(s sample) uint64 { return s.letters }), now, streams),
		newPlot("plot-backlog", "Backlog", "messages", h.values(func(s sample) float64 { return s.backlog }), now, lanes),
		newPlot("plot-inflight", "In flight", "messages", h.values(func(s sample) float64 { return s.inFlight }), now, lanes),
		newPlot("plot-parked", "Parked", "orders", h.values(func(s sample) float64 { return s.parked }), now, parked),
	}}
}

// gatewayNow lists what stops calls to the gateway.
func gatewayNow(s snapshot.Snapshot, now time.Time) section {
	fleet := readOf(s.Fleet)
	breakers := table{ID: "breakers", Caption: "Open breakers", Empty: "No breaker is open.", read: fleet,
		Columns: columns("Operation", "CA", "Open since", "Next canary", "#Canaries", "Cause")}
	for _, b := range s.Fleet.Of.Breakers {
		breakers.Rows = append(breakers.Rows, row{levelBad, []cell{
			{Word: "open", Text: b.Operation}, text(b.CA), text(ago(b.Since, now)), text(until(b.Next, now)), count(b.Canaries), text(dash(b.Cause)),
		}})
	}
	pauses := table{ID: "pauses", Caption: "Pauses that the gateway asked for", Empty: "No pause holds.", read: fleet, Columns: columns("Ends", "Told to worker")}
	for _, p := range s.Fleet.Of.Pauses {
		pauses.Rows = append(pauses.Rows, row{levelWarn, []cell{{Word: "paused", Text: until(p.Until, now)}, text(dash(p.Worker))}})
	}
	suspensions := table{ID: "suspensions", Caption: "Suspensions by operators", Empty: "Nothing is suspended.", read: fleet, Columns: columns("What", "Since", "By", "Reason")}
	for _, u := range s.Fleet.Of.Suspensions {
		suspensions.Rows = append(suspensions.Rows, row{levelWarn, []cell{
			{Word: "suspended", Text: u.Scope.String()}, text(ago(u.Since, now)), text(dash(u.Operator)), text(dash(u.Reason)),
		}})
	}
	out := section{ID: "gateway", Title: "Gateway", Tables: []table{breakers, pauses, suspensions}}
	if !s.Fleet.Known() {
		out.Tables, out.Note = nil, "Not read yet."
	}
	return out
}

func lanesNow(s snapshot.Snapshot, now time.Time) section {
	t := table{ID: "lane-list", Caption: "Messages by lane", Empty: "Not read yet.", read: readOf(s.Lanes),
		Columns: columns("Lane", "#In flight", "#Backlog", "#Oldest")}
	for _, l := range s.Lanes.Of {
		t.Rows = append(t.Rows, row{"", []cell{text(l.Name), count(l.InFlight), count(l.Backlog), {Text: age(l.Oldest, now), Number: true}}})
	}
	return section{ID: "lanes", Title: "Lanes", Half: true, Tables: []table{t}}
}

// waitingNow shows the counts of the watchdog's last scan.
func waitingNow(s snapshot.Snapshot, now time.Time) section {
	out := section{ID: "waiting", Title: "Waiting orders"}
	f := s.Fleet
	if !f.Known() || f.Of.Watchdog.Scanned.IsZero() {
		out.Note = "The watchdog has not finished a scan yet."
		return out
	}
	w := f.Of.Watchdog
	indeterminate := figure{Name: "Indeterminate", Value: thousands(int64(w.Waiting.Indeterminate)), Note: "the gateway may have them", read: readOf(f)}
	if w.Waiting.Indeterminate > 0 {
		indeterminate.Level = levelWarn
	}
	out.Figures = []figure{
		{Name: "For approval", Value: thousands(int64(w.Waiting.Awaiting)), read: readOf(f)},
		{Name: "Unaccepted", Value: thousands(int64(w.Waiting.Unaccepted)), Note: "the gateway accepted no try", read: readOf(f)},
		indeterminate,
		{Name: "Others", Value: thousands(int64(w.Waiting.Other)), read: readOf(f)},
		{Name: "Next due", Value: until(w.NextDue, now), read: readOf(f)},
		{Name: "Oldest waits for", Value: age(w.OldestSince, now), read: readOf(f)},
		{Name: "Last scan", Value: ago(w.Scanned, now), Note: "of every record: " + ago(w.ScannedAll, now), read: readOf(f)},
	}
	out.Note = "As of the watchdog's last scan."
	if w.Counted.IsZero() {
		// An older worker scanned; it does not count by phase.
		out.Figures, out.Note = out.Figures[4:], out.Note+" Its worker is older and does not count orders by phase."
	}
	return out
}

func lettersNow(s snapshot.Snapshot, now time.Time) section {
	t := table{ID: "letter-list", Caption: "Dead letters by reason", Empty: "No dead letter waits for an operator.", read: readOf(s.Letters),
		Columns: columns("Reason", "#Letters", "#Oldest", "#Fullness")}
	if !s.Letters.Known() {
		t.Empty = "Not read yet."
	}
	for _, l := range s.Letters.Of {
		if l.Count == 0 {
			continue
		}
		r := row{levelWarn, []cell{text(string(l.Reason)), count(l.Count), {Text: age(l.Oldest, now), Number: true}, percent(l.Fullness)}}
		t.Rows = append(t.Rows, r)
	}
	return section{ID: "letters", Title: "Dead letters", Half: true, Tables: []table{t},
		Note: "entrust-worker dead ls lists them. Fullness is that of the producer with most letters of the reason."}
}

// percent formats a share, and marks a high one.
func percent(share float64) cell {
	c := cell{Text: fmt.Sprintf("%.0f %%", 100*share), Number: true}
	if share >= fullnessWarns {
		c.Word = "nearly full"
	}
	return c
}

func producersNow(s state, now time.Time) section {
	t := table{ID: "producer-list", Caption: "Producers by failures", Empty: "No result was published in the last hour.", read: read{s.producersAt, s.uncounted},
		Columns: columns("Producer", "#Results", "#A minute", "#Failed", "#Share failed", "#Last")}
	if s.producersAt.IsZero() {
		t.Empty = "Not read yet."
	}
	minutes := max(s.producersAt.Sub(s.producers.Since).Minutes(), 1)
	for _, p := range s.producers.List {
		r := row{"", []cell{
			link(p.Name, "/orders?producer="+p.Name), count(p.Results), {Text: number(float64(p.Results) / minutes), Number: true},
			count(p.Failed), percentOf(p.Failed, p.Results), {Text: ago(p.Last, now), Number: true},
		}}
		if p.Failed > 0 {
			r.Level = levelWarn
		}
		t.Rows = append(t.Rows, r)
	}
	out := section{ID: "producers", Title: "Producers", Tables: []table{t}}
	if s.producers.Results > 0 {
		out.Note = fmt.Sprintf("Of the newest %s results, the oldest of them %s. Failed counts all results but issued, revoked and cancelled.",
			thousands(int64(s.producers.Results)), ago(s.producers.Since, now))
	}
	if s.producers.Left > 0 {
		out.Note += fmt.Sprintf(" %d more producers are not shown.", s.producers.Left)
	}
	return out
}

func percentOf(part, whole int) cell {
	return cell{Text: fmt.Sprintf("%.0f %%", 100*float64(part)/float64(max(whole, 1))), Number: true}
}

func workersNow(s snapshot.Snapshot, now time.Time) section {
	t := table{ID: "worker-list", Caption: "Workers of the last minute", Empty: "No worker says that it lives.", read: readOf(s.Fleet),
		Columns: columns("Worker", "Version", "Started", "Seen", "Certificate ends", "#Clock skew", "Gateway")}
	if !s.Fleet.Known() {
		t.Empty = "Not read yet."
	}
	for _, w := range s.Fleet.Of.Workers {
		skew := "—"
		if w.SkewKnown {
			skew = fmt.Sprintf("%d ms", w.Skew.Milliseconds())
		}
		r := row{"", []cell{
			text(w.Worker), text(dash(w.Version)), text(ago(w.Started, now)), text(ago(w.Seen, now)), text(day(w.CertificateEnd)), {Text: skew, Number: true}, text("reached"),
		}}
		last := &r.Cells[len(r.Cells)-1]
		switch {
		case w.Silent:
			r.Level, r.Cells[0].Word, last.Text = levelBad, "silent", "—"
		case w.CertificateProblem != "":
			r.Level, *last = levelBad, cell{Word: "key pair", Text: w.CertificateProblem}
		case w.GatewayProblem != "":
			r.Level, *last = levelWarn, cell{Word: "not called", Text: w.GatewayProblem}
		}
		t.Rows = append(t.Rows, r)
	}
	return section{ID: "workers", Title: "Workers", Tables: []table{t}}
}

func streamsNow(s snapshot.Snapshot, _ time.Time) section {
	t := table{ID: "stream-list", Caption: "Streams and buckets", Empty: "Not read yet.", read: readOf(s.Streams),
		Columns: columns("Stream", "#Messages", "#Size", "#Fullness", "Replicas")}
	for _, st := range s.Streams.Of {
		r := row{"", []cell{text(st.Name), count(st.Messages), {Text: size(st.Bytes), Number: true}, percent(st.Fullness), text(fmt.Sprint(st.Replicas))}}
		if st.MaxBytes == 0 && st.MaxMessages == 0 {
			r.Cells[3] = cell{Text: "no bound", Number: true}
		}
		if st.Fullness >= fullnessWarns {
			r.Level = levelWarn
		}
		if st.Behind > 0 {
			r.Level, r.Cells[4].Word = levelBad, fmt.Sprintf("%d behind of", st.Behind)
		}
		t.Rows = append(t.Rows, r)
	}
	return section{ID: "streams", Title: "Streams", Tables: []table{t}}
}

// size writes a number of bytes.
func size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/unit, "KMGTPE"
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}
