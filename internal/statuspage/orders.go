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
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// maxFound bounds the orders of one search.
const maxFound = 100

// Query chooses orders. An empty field chooses all.
type Query struct {
	Producer, ID             string
	Phase                    order.Phase
	Kind                     entrustbus.Kind
	Outcome                  entrustbus.Outcome
	Name, Serial, TrackingID string
	Trouble                  bool
	// Limit bounds the orders that are found.
	Limit int
}

// Found are the orders of a search, newest first.
type Found struct {
	Orders []timeline.Facts
	// Note says what was left out, and is empty where nothing was.
	Note string
}

// Orders finds orders and reads their stories.
type Orders interface {
	Find(ctx context.Context, q Query) (Found, error)
	// Read returns timeline.ErrUnknown for an order that the bus does not know.
	Read(ctx context.Context, key order.Key) (*timeline.Story, error)
}

// ordersView is what the page of a search shows.
type ordersView struct {
	Query                   Query
	Phases, Kinds, Outcomes []string
	Asked                   bool
	Problem                 string
	Found                   table
	Note                    string
}

// orders searches. A form without a field filled in lists the newest.
func (p *Page) orders(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	v := ordersView{Query: queryOf(values), Kinds: []string{"issue", "revoke", "track", "cancel"}, Outcomes: outcomes()}
	for _, phase := range order.Phases() {
		v.Phases = append(v.Phases, string(phase))
	}
	status := http.StatusOK
	if v.Asked = len(values) > 0; v.Asked {
		status = p.search(r.Context(), &v)
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

func queryOf(v url.Values) Query {
	of := func(name string) string { return strings.TrimSpace(v.Get(name)) }
	return Query{
		Producer: of("producer"), ID: of("id"), Phase: order.Phase(of("phase")), Kind: entrustbus.Kind(of("kind")), Outcome: entrustbus.Outcome(of("outcome")),
		Name: of("name"), Serial: of("serial"), TrackingID: of("tracking_id"), Trouble: of("trouble") != "", Limit: maxFound,
	}
}

// check returns what is wrong with a query, for people.
func (q *Query) check() string {
	switch {
	case q.Producer != "" && !entrustbus.ValidToken(q.Producer):
		return "A producer has 1 to 64 letters, digits, _ and -."
	case q.ID != "" && !entrustbus.ValidToken(q.ID):
		return "An id has 1 to 64 letters, digits, _ and -."
	case q.Phase != "" && !slices.Contains(order.Phases(), q.Phase):
		return "There is no such phase."
	case q.Kind != "" && !q.Kind.Valid():
		return "There is no such kind."
	case q.Outcome != "" && !q.Outcome.Valid():
		return "There is no such outcome."
	}
	return ""
}

// search fills the view, and returns the status of the answer.
func (p *Page) search(ctx context.Context, v *ordersView) int {
	if v.Problem = v.Query.check(); v.Problem != "" {
		return http.StatusBadRequest
	}
	ctx, leave, ok := p.ask(ctx)
	if !ok {
		v.Problem = "Other searches are under way. Try again in a moment."
		return http.StatusServiceUnavailable
	}
	defer leave()
	found, err := p.cfg.Orders.Find(ctx, v.Query)
	if err != nil {
		v.Problem = "The orders cannot be read: " + err.Error()
		return http.StatusBadGateway
	}
	now := time.Now()
	v.Note = found.Note
	v.Found = table{ID: "found", Caption: fmt.Sprintf("%d orders, newest first", len(found.Orders)), Empty: "No order fits.", read: read{At: now},
		Columns: columns("Order", "Kind", "State", "Names", "#Requested", "Trouble")}
	for _, f := range found.Orders {
		state := string(f.Phase)
		if f.Outcome != "" {
			state = string(f.Outcome)
		}
		r := row{"", []cell{
			link(f.Producer+"."+f.ID, orderPath(f.Key())), text(string(f.Kind)), text(state), text(dash(few(f.Names))), {Text: ago(f.Requested, now), Number: true}, text(dash(f.Trouble)),
		}}
		if f.Trouble != "" {
			r.Level = levelWarn
			r.Cells[5] = cell{Word: "look:", Text: f.Trouble}
		}
		v.Found.Rows = append(v.Found.Rows, r)
	}
	return http.StatusOK
}

// few writes the first of several names.
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

// ask bounds a search in time, and the searches at once. It returns false where there are
// enough.
func (p *Page) ask(ctx context.Context) (context.Context, func(), bool) {
	select {
	case p.searches <- struct{}{}:
	default:
		return ctx, nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	return ctx, func() { cancel(); <-p.searches }, true
}

// orderView is what the page of one order shows.
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

// liveOf is the path of an order's events, where there is something to follow.
func liveOf(status int, key order.Key) string {
	if status != http.StatusOK {
		return ""
	}
	return orderPath(key) + "/live"
}

// story reads an order, and returns the status of the answer beside it.
func (p *Page) story(ctx context.Context, key order.Key) (orderView, int) {
	v := orderView{Key: key, read: read{At: time.Now()}}
	if !entrustbus.ValidToken(key.Producer) || !entrustbus.ValidToken(key.ID) {
		v.Problem = "Producers and ids have 1 to 64 letters, digits, _ and -."
		return v, http.StatusBadRequest
	}
	ctx, leave, ok := p.ask(ctx)
	if !ok {
		v.Problem = "Other searches are under way. Try again in a moment."
		return v, http.StatusServiceUnavailable
	}
	defer leave()
	story, err := p.cfg.Orders.Read(ctx, key)
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

// levelOf is how good or bad an outcome or an event is.
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

// orderLive sends the story of an order again and again.
func (p *Page) orderLive(w http.ResponseWriter, r *http.Request) {
	key := order.Key{Producer: r.PathValue("producer"), ID: r.PathValue("id")}
	last := orderView{}
	p.stream(w, r, "order", func() any {
		v, status := p.story(r.Context(), key)
		if status != http.StatusOK && len(last.Facts) > 0 {
			last.Stale = true // as it was read last
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
