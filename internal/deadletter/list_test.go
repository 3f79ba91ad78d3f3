package deadletter_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func TestListChooses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, l := range []*deadletter.Letter{
		{Letter: order.Letter{Reason: order.Expired, Key: order.Key{Producer: "web", ID: "a"}, Kind: entrustbus.KindIssue}, Time: noon},
		{Letter: order.Letter{Reason: order.Expired, Key: order.Key{Producer: "mail", ID: "a"}, Kind: entrustbus.KindTrack}, Time: noon.Add(time.Hour)},
		{Letter: order.Letter{Reason: order.Rejected, Key: order.Key{Producer: "web", ID: "b"}, Kind: entrustbus.KindIssue}, Time: noon.Add(2 * time.Hour)},
		{Letter: order.Letter{Reason: order.Undecodable, Key: order.Key{Producer: "web"}}, Time: noon.Add(3 * time.Hour)},
	} {
		l.Request.Subject = "entrust.request.x.issue"
		b.put(t, l)
	}
	for name, tc := range map[string]struct {
		filter deadletter.Filter
		want   []uint64
	}{
		"all":                                 {deadletter.Filter{}, []uint64{1, 2, 3, 4}},
		"one reason":                          {deadletter.Filter{Reasons: []order.Reason{order.Expired}}, []uint64{1, 2}},
		"two reasons":                         {deadletter.Filter{Reasons: []order.Reason{order.Rejected, order.Undecodable}}, []uint64{3, 4}},
		"producer":                            {deadletter.Filter{Producer: "web"}, []uint64{1, 3, 4}},
		"kind":                                {deadletter.Filter{Kind: entrustbus.KindTrack}, []uint64{2}},
		"id":                                  {deadletter.Filter{ID: "a"}, []uint64{1, 2}},
		"id of producer":                      {deadletter.Filter{ID: "a", Producer: "mail"}, []uint64{2}},
		"before":                              {deadletter.Filter{Before: noon.Add(time.Hour)}, []uint64{1}}, // exclusive
		"after":                               {deadletter.Filter{After: noon.Add(time.Hour)}, []uint64{3, 4}},
		"between":                             {deadletter.Filter{After: noon, Before: noon.Add(3 * time.Hour)}, []uint64{2, 3}},
		"sequences":                           {deadletter.Filter{Sequences: []uint64{4, 2}}, []uint64{4, 2}}, // in the order of the filter
		"sequence that does not fit the rest": {deadletter.Filter{Sequences: []uint64{4, 2}, Kind: entrustbus.KindTrack}, []uint64{2}},
		"no sequences at all":                 {deadletter.Filter{Sequences: []uint64{}}, nil},
		"nothing":                             {deadletter.Filter{Producer: "nobody"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []uint64
			for l, err := range b.box.List(b.ctx, tc.filter) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, l.Sequence)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestListStopsWhenAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 3 {
		b.put(t, letter(order.Expired, order.Key{Producer: "p", ID: "a"}))
	}
	n := 0
	for _, err := range b.box.List(b.ctx, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("met %d letters, want 2", n)
	}
}

// Other publishers may have the permission to publish here. One malformed message must not hide
// the rest.
func TestListGoesOnAfterWhatIsNoLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.put(t, letter(order.Expired, order.Key{Producer: "p", ID: "a"}))
	if _, err := b.js.Publish(b.ctx, "entrust.dead.p.what%ever", []byte("?")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.PublishMsg(b.ctx, &nats.Msg{Subject: "entrust.dead.p.expired"}); err != nil {
		t.Fatal(err)
	}
	var letters []*deadletter.Letter
	faults := 0
	for l, err := range b.box.List(b.ctx, deadletter.Filter{}) {
		if err != nil {
			faults++
			if e, ok := errors.AsType[*deadletter.UnreadableError](err); !ok || e.Sequence != 2 {
				t.Errorf("the error does not name the letter: %v", err)
			}
			continue
		}
		letters = append(letters, l)
	}
	if faults != 1 || len(letters) != 2 {
		t.Fatalf("got %d letters and %d errors, want 2 and 1", len(letters), faults)
	}
	if bare := letters[1]; bare.Time.IsZero() || bare.Reason != order.Expired {
		t.Errorf("a letter without headers is %+v, want its reason and the time it came", bare)
	}
}

func TestGetOfNone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.box.Get(b.ctx, 7); !errors.Is(err, deadletter.ErrNoLetter) {
		t.Errorf("got %v, want ErrNoLetter", err)
	}
	for _, err := range b.box.List(b.ctx, deadletter.Filter{Sequences: []uint64{7}}) {
		if !errors.Is(err, deadletter.ErrNoLetter) {
			t.Errorf("got %v, want ErrNoLetter", err)
		}
	}
}

func TestDepths(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := time.Now().Add(-time.Second)
	for _, producer := range []string{"web", "web", "mail"} {
		b.put(t, letter(order.Expired, order.Key{Producer: producer, ID: "a"}))
	}
	if _, err := b.js.Publish(b.ctx, "entrust.dead.web.of-old-age", nil); err != nil {
		t.Fatal(err)
	}
	got, err := b.box.Depths(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(order.Reasons()) + 1; len(got) != want {
		t.Fatalf("got %d reasons, want %d", len(got), want)
	}
	for _, d := range got {
		want := map[order.Reason]uint64{order.Expired: 3, deadletter.Other: 1}[d.Reason]
		if d.Letters != want {
			t.Errorf("%s: %d letters, want %d", d.Reason, d.Letters, want)
		}
		if d.Oldest.IsZero() != (want == 0) || (want > 0 && d.Oldest.Before(before)) {
			t.Errorf("%s: oldest is %v", d.Reason, d.Oldest)
		}
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 4 {
		b.put(t, letter(order.Expired, order.Key{Producer: "p", ID: "a"}))
	}
	if n, err := b.box.Purge(b.ctx, 1, 3); n != 2 || err != nil {
		t.Fatalf("purged %d, %v; want 2", n, err)
	}
	// Removed, removed, present, never existed.
	if n, err := b.box.Purge(b.ctx, 1, 3, 4, 99); n != 1 || err != nil {
		t.Fatalf("purged %d, %v; want 1", n, err)
	}
	for l, err := range b.box.List(b.ctx, deadletter.Filter{}) {
		if err != nil || l.Sequence != 2 {
			t.Errorf("left: %v, %v; want 2 alone", l, err)
		}
	}
}

// Only the leader of its stream knows whether a dead letter is gone: a lagging replica still
// returns it. Here no server answers for a replica.
func TestPurgeAsksTheLeader(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t, `authorization { users: [
		{ user: all, password: s }
		{ user: leader, password: s, permissions: { publish: { deny: "$JS.API.DIRECT.GET.>" } } }
	] }`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, server.JetStream(t, nats.UserInfo("all", "s")), layout); err != nil {
		t.Fatal(err)
	}
	box := deadletter.New(server.JetStream(t, nats.UserInfo("leader", "s")), layout.Dead, layout.Subjects())
	if err := box.Put(ctx, letter(order.Expired, order.Key{Producer: "p", ID: "a"})); err != nil {
		t.Fatal(err)
	}
	if n, err := box.Purge(ctx, 1, 1, 99); n != 1 || err != nil {
		t.Errorf("purged %d, %v; want 1", n, err)
	}
}

func TestPurgeThatMayNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.put(t, letter(order.Expired, order.Key{Producer: "p", ID: "a"}))
	st, err := b.js.Stream(b.ctx, b.layout.Dead)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.DenyDelete = true
	if _, err := b.js.UpdateStream(b.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if n, err := b.box.Purge(b.ctx, 1); n != 0 || err == nil {
		t.Errorf("purged %d, %v; want an error", n, err)
	}
}
