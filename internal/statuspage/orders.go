package statuspage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

const (
	// maxFound bounds the orders of one search, findTime the time that it reads.
	maxFound = 100
	findTime = 3 * time.Second
)

// Finder finds orders, newest first. *find.Finder implements it.
type Finder interface {
	// Newest may return orders together with an error.
	Newest(ctx context.Context, q find.Query, limit int, within time.Duration) (*find.Found, error)
}

// Stories reads the story of an order. *timeline.Reader implements it.
type Stories interface {
	// Read returns timeline.ErrUnknown if the bus has no trace of the order.
	Read(ctx context.Context, key order.Key) (*timeline.Story, error)
}

// ordersView is the content of the search page.
type ordersView struct {
	Query                   find.Query
	ID                      string
	Phase                   string
	Phases, Kinds, Outcomes []string
	Asked                   bool
	Problem                 string
	Found                   table
	Note                    string
}

// orders searches. An empty form lists the newest orders. A form with a producer and an
// id redirects to that order.
func (p *Page) orders(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	of := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	v := ordersView{ID: of("id"), Asked: len(values) > 0, Kinds: []string{"issue", "revoke", "track", "cancel"}, Outcomes: outcomes(), Query: find.Query{
		Producer: of("producer"), Kind: entrustbus.Kind(of("kind")), Outcome: entrustbus.Outcome(of("outcome")),
		Name: of("name"), Serial: of("serial"), TrackingID: of("tracking_id"), Trouble: of("trouble") != "",
	}}
	if v.Phase = of("phase"); v.Phase != "" {
		v.Query.Phases = []order.Phase{order.Phase(v.Phase)}
	}
	for _, phase := range order.Phases() {
		v.Phases = append(v.Phases, string(phase))
	}
	status := http.StatusOK
	if v.Asked {
		if v.Problem = v.check(); v.Problem != "" {
			status = http.StatusBadRequest
		} else if v.ID != "" {
			http.Redirect(w, r, orderPath(order.Key{Producer: v.Query.Producer, ID: v.ID}), http.StatusSeeOther)
			return
		} else {
			status = p.search(r.Context(), &v)
		}
	}
	p.show(w, status, "orders", head{Title: "Orders", Nav: "orders"}, v)
}

func outcomes() (all []string) {
	for _, o := range []entrustbus.Outcome{
		entrustbus.OutcomeIssued, entrustbus.OutcomeRevoked, entrustbus.OutcomeRejected, entrustbus.OutcomeFailed,
		entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled,
	} {
		all = append(all, string(o))
	}
	return all
}

// check returns the error in a search as a text for people, "" for none.
func (v *ordersView) check() string {
	q := v.Query
	switch {
	case q.Producer != "" && !entrustbus.ValidToken(q.Producer):
		return "A producer has 1 to 64 letters, digits, _ and -."
	case v.ID != "" && !entrustbus.ValidToken(v.ID):
		return "An id has 1 to 64 letters, digits, _ and -."
	case v.ID != "" && q.Producer == "":
		return "Ids belong to producers: fill in the producer too."
	case v.Phase != "" && !slices.Contains(order.Phases(), order.Phase(v.Phase)):
		return "There is no such phase."
	case q.Kind != "" && !q.Kind.Valid():
		return "There is no such kind."
	case q.Outcome != "" && !q.Outcome.Valid():
		return "There is no such outcome."
	}
	if _, ok := find.Serial(q.Serial); q.Serial != "" && !ok {
		return "A serial number is hexadecimal."
	}
	return ""
}

// search fills the view, and returns the status of the answer.
func (p *Page) search(ctx context.Context, v *ordersView) int {
	ctx, leave, ok := p.ask(ctx)
	if !ok {
		v.Problem = "Too many searches are running. Try again in a moment."
		return http.StatusServiceUnavailable
	}
	defer leave()
	q := v.Query
	if q.Serial != "" {
		q.Serial, _ = find.Serial(q.Serial)
	}
	found, err := p.cfg.Finder.Newest(ctx, q, maxFound, findTime)
	if err != nil {
		v.Note = "Not all could be read: " + err.Error()
	}
	if found == nil {
		v.Problem = "The orders cannot be read: " + err.Error()
		return http.StatusBadGateway
	}
	now := time.Now()
	switch {
	case found.More:
		v.Note = strings.TrimSpace(v.Note + fmt.Sprintf(" There are more: these are the newest %d.", maxFound))
	case !found.Since.IsZero():
		v.Note = strings.TrimSpace(v.Note + " Orders that changed last before " + day(found.Since) + " were not looked at.")
	}
	v.Found = foundTable(found.Orders, now)
	return http.StatusOK
}

// foundTable lists orders.
func foundTable(orders []*timeline.Facts, now time.Time) table {
	t := table{ID: "found", Caption: fmt.Sprintf("%d orders, newest first", len(orders)), Empty: "No order fits.", read: read{At: now},
		Columns: columns("Order", "Kind", "State", "Names", "#Changed", "Trouble")}
	if len(orders) == 1 {
		t.Caption = "1 order"
	}
	for _, f := range orders {
		state := string(f.Phase)
		if f.Outcome != "" {
			state = string(f.Outcome)
		}
		r := row{"", []cell{
			link(f.Producer+"."+f.ID, orderPath(f.Key())), text(string(f.Kind)), text(dash(state)), text(dash(few(f.Names))), {Text: ago(f.Updated, now), Number: true}, text(dash(f.Trouble)),
		}}
		if f.Trouble != "" {
			r.Level, r.Cells[5].Word = levelWarn, "look:"
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// few joins the first of several names.
func few(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

func orderPath(key order.Key) string {
	return "/orders/" + url.PathEscape(key.Producer) + "/" + url.PathEscape(key.ID)
}

// ask bounds the time of a search and the number of concurrent searches. It returns false
// if there are maxSearches already.
func (p *Page) ask(ctx context.Context) (context.Context, func(), bool) {
	select {
	case p.searches <- struct{}{}:
	default:
		return ctx, nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	return ctx, func() { cancel(); <-p.searches }, true
}

// orderView is the content of the page of one order.
type orderView struct {
	Key     order.Key
	Problem string
	State   cell
	Level   string
	Waits   string
	Trouble string
	Facts   []fact
	Entries []entry
	Notes   []string
	read
}

type fact struct{ Name, Value string }

type entry struct {
	Time                time.Time
	Level, What, Detail string
	Source              string
	Generation          int
}

// order shows the story of one order.
func (p *Page) order(w http.ResponseWriter, r *http.Request) {
	key := order.Key{Producer: r.PathValue("producer"), ID: r.PathValue("id")}
	v, status := p.story(r.Context(), key)
	p.show(w, status, "order", head{Title: "Order " + key.ID, Nav: "orders", Live: liveOf(status, key)}, v)
}

// liveOf returns the path of an order's events, "" if there is nothing to follow.
func liveOf(status int, key order.Key) string {
	if status != http.StatusOK {
		return ""
	}
	return orderPath(key) + "/live"
}

// story reads an order, and returns the status of the answer.
func (p *Page) story(ctx context.Context, key order.Key) (orderView, int) {
	v := orderView{Key: key, read: read{At: time.Now()}}
	if !entrustbus.ValidToken(key.Producer) || !entrustbus.ValidToken(key.ID) {
		v.Problem = "Producers and ids have 1 to 64 letters, digits, _ and -."
		return v, http.StatusBadRequest
	}
	ctx, leave, ok := p.ask(ctx)
	if !ok {
		v.Problem = "Too many searches are running. Try again in a moment."
		return v, http.StatusServiceUnavailable
	}
	defer leave()
	story, err := p.cfg.Stories.Read(ctx, key)
	switch {
	case errors.Is(err, timeline.ErrUnknown):
		v.Problem = "The bus does not know this order. It forgets closed orders after a while."
		return v, http.StatusNotFound
	case err != nil:
		v.Problem = "The order cannot be read: " + err.Error()
		return v, http.StatusBadGateway
	}
	v.tell(story)
	return v, http.StatusOK
}

// tell fills the view from a story.
func (v *orderView) tell(s *timeline.Story) {
	v.State, v.Level = cell{Text: string(s.Phase)}, levelOf(string(s.Outcome))
	if s.Outcome != "" {
		v.State.Text = string(s.Outcome)
	}
	v.Waits, v.Trouble, v.Notes = s.Waits, s.Trouble, s.Notes
	add := func(name, value string) {
		if value != "" {
			v.Facts = append(v.Facts, fact{name, value})
		}
	}
	when := func(name string, at time.Time) {
		if !at.IsZero() {
			add(name, at.UTC().Format("2006-01-02 15:04:05 UTC"))
		}
	}
	add("Kind", string(s.Kind))
	add("Phase", string(s.Phase))
	add("Names", strings.Join(s.Names, ", "))
	add("Subject", s.Subject)
	add("CA", s.CAID)
	add("Profile", s.ProfileID)
	add("Validity", s.Validity)
	when("Valid from", s.NotBefore)
	when("Valid until", s.NotAfter)
	add("Serial", s.Serial)
	add("Tracking id", s.TrackingID)
	if e := s.Error; e != nil {
		add("Error", strings.Trim(fmt.Sprintf("%s %s: %s", e.Class, e.Code, e.Message), " :"))
	}
	add("Cause", s.Cause)
	add("Warnings", strings.Join(s.Warnings, "; "))
	when("Requested", s.Requested)
	when("Submitted", s.Submitted)
	when("Deadline", s.Deadline)
	when("Next wake-up", s.NextWakeup)
	add("Generation", fmt.Sprint(s.Replay))
	if s.Submissions > 0 {
		add("Submissions", fmt.Sprint(s.Submissions))
	}
	if s.PossibleDuplicate {
		add("Possible duplicate", "yes: the gateway may have accepted an earlier submission")
	}
	if s.Polls > 0 {
		add("Polls", fmt.Sprint(s.Polls))
	}
	add("Worker", s.Owner)
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		add("Label "+name, s.Labels[name])
	}
	for _, e := range s.Entries {
		v.Entries = append(v.Entries, entry{Time: e.Time, Level: levelOf(string(e.What)), What: string(e.What), Detail: e.Detail, Source: string(e.Source), Generation: e.Replay})
	}
}

// levelOf returns the level that marks an outcome or an event.
func levelOf(what string) string {
	switch what {
	case "issued", "revoked":
		return levelOK
	case "rejected", "failed", "expired", "unconfirmed", string(timeline.DeadLetter):
		return levelBad
	case string(timeline.Refused), string(timeline.LostReply), string(timeline.Deferred), "cancelled", "denied":
		return levelWarn
	}
	return ""
}

// orderLive sends the story of an order periodically.
func (p *Page) orderLive(w http.ResponseWriter, r *http.Request) {
	key := order.Key{Producer: r.PathValue("producer"), ID: r.PathValue("id")}
	last := orderView{}
	p.stream(w, r, "order", func() any {
		v, status := p.story(r.Context(), key)
		if status != http.StatusOK && len(last.Facts) > 0 {
			last.Stale = true // from the last reading
			return last
		}
		last = v
		return v
	}, func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(liveEvery):
		}
	})
}
