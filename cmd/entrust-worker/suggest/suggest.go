// Package suggest tells shells which orders, dead letters and producers there are. It asks the
// bus for a second at most. Where that fails it suggests nothing, and says nothing: an error
// would be written into the line that a person is typing.
package suggest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// patience bounds one completion; searchTime bounds what it reads of the bus.
	patience   = time.Second
	searchTime = 300 * time.Millisecond
	// read is how many orders or letters are looked at, and most how many are suggested.
	read, most = 2000, 50
)

// Add has the verbs of root suggest what they take. Flags and arguments that suggest something
// already keep it.
func Add(root *cobra.Command, dial connect.Dialer) {
	open := []order.Phase{order.Submitting, order.Unaccepted, order.Indeterminate, order.Awaiting, order.Concluded}
	for path, list := range map[string]lister{
		"orders show":    orders(find.Query{}),
		"orders watch":   orders(find.Query{Phases: open}),
		"orders cancel":  orders(find.Query{Phases: open}),
		"orders poll":    orders(find.Query{Phases: []order.Phase{order.Awaiting, order.Unaccepted, order.Indeterminate}}),
		"orders resolve": orders(find.Query{Trouble: true}),
		"dead show":      letters,
		"dead replay":    letters,
		"dead purge":     letters,
	} {
		if cmd, rest, err := root.Find(strings.Fields(path)); err == nil && len(rest) == 0 {
			cmd.ValidArgsFunction = complete(dial, list)
		}
	}
	// This one takes a file behind the order.
	if cmd, rest, err := root.Find([]string{"orders", "complete"}); err == nil && len(rest) == 0 {
		first := complete(dial, orders(find.Query{Trouble: true}))
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return first(cmd, args, begun)
			}
			return nil, cobra.ShellCompDirectiveDefault
		}
	}
	flags(root, dial)
}

// flags has every flag --producer suggest producers.
func flags(cmd *cobra.Command, dial connect.Dialer) {
	if cmd.LocalNonPersistentFlags().Lookup("producer") != nil {
		_ = cmd.RegisterFlagCompletionFunc("producer", complete(dial, producers)) // it may have one
	}
	for _, c := range cmd.Commands() {
		flags(c, dial)
	}
}

// lister lists what begins so, each with a description behind a tab.
type lister func(ctx context.Context, bus *connect.Bus, begun string) []string

// complete asks a lister, for as long as patience lasts.
func complete(dial connect.Dialer, list lister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		answer := make(chan []string, 1)
		go func() { // a dial takes no context
			bus, err := dial(cmd, nats.Timeout(patience/2), nats.NoReconnect())
			if err != nil {
				answer <- nil
				return
			}
			defer bus.Close()
			answer <- list(ctx, bus, begun)
		}()
		select {
		case names := <-answer:
			return without(names, args), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		case <-ctx.Done():
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// without leaves out what the line names already.
func without(names, args []string) (left []string) {
	given := map[string]bool{}
	for _, arg := range args {
		given[arg] = true
	}
	for _, n := range names {
		if name, _, _ := strings.Cut(n, "\t"); !given[name] {
			left = append(left, n)
		}
	}
	return left
}

// orders lists the orders that a query chooses, the newest first.
func orders(q find.Query) lister {
	return func(ctx context.Context, bus *connect.Bus, begun string) (names []string) {
		if producer, _, ok := strings.Cut(begun, "."); ok && entrustbus.ValidToken(producer) {
			q.Producer = producer
		}
		found, _ := find.New(bus.JS, bus.Layout, time.Now).Newest(ctx, q, read, searchTime)
		for _, o := range found.Orders {
			if name := o.Key().String(); strings.HasPrefix(name, begun) && len(names) < most {
				names = append(names, fmt.Sprintf("%s\t%s %s %s", name, o.Kind, o.Phase, o.Outcome))
			}
		}
		return names
	}
}

// producers lists those of the newest orders, and of the dead letters.
func producers(ctx context.Context, bus *connect.Bus, begun string) (names []string) {
	seen := map[string]bool{}
	add := func(producer string) {
		if !seen[producer] && strings.HasPrefix(producer, begun) && entrustbus.ValidToken(producer) && len(names) < most {
			seen[producer] = true
			names = append(names, producer)
		}
	}
	found, _ := find.New(bus.JS, bus.Layout, time.Now).Newest(ctx, find.Query{}, read, searchTime)
	for _, o := range found.Orders {
		add(o.Producer)
	}
	newestLetters(ctx, bus, func(l *deadletter.Letter) bool {
		add(l.Key.Producer)
		return true
	})
	return names
}

// letters lists dead letters, the newest first.
func letters(ctx context.Context, bus *connect.Bus, begun string) (names []string) {
	newestLetters(ctx, bus, func(l *deadletter.Letter) bool {
		if name := fmt.Sprint(l.Sequence); strings.HasPrefix(name, begun) {
			names = append(names, fmt.Sprintf("%s\t%s %s", name, l.Reason, l.Key))
		}
		return len(names) < most
	})
	return names
}

// newestLetters hands on dead letters, the newest first, until each returns false.
func newestLetters(ctx context.Context, bus *connect.Bus, each func(*deadletter.Letter) bool) {
	n := 0
	for m, err := range streams.ScanBack(ctx, bus.JS, bus.Layout.Dead, bus.Subjects.DeadFilter()) {
		if n++; err != nil || n > read {
			return
		}
		l, err := deadletter.Parse(bus.Subjects, m.Sequence, m.Subject, m.Header, m.Data)
		if err == nil && !each(l) {
			return
		}
	}
}
