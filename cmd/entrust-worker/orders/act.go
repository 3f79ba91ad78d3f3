package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
)

func ordersPollCommand(a *app) *cobra.Command {
	var producer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "poll ORDER...",
		Short: "Have a worker ask the gateway for a parked order now",
		Long: `Have a worker ask the gateway for a parked order now instead of at its next poll. The poll counts, the
deadline stands, and the polls that follow are as far apart as they were. Nothing is waited for: orders watch
shows what comes of it.`,
		Args: atLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := orderKeys(args, producer)
			if err != nil {
				return err
			}
			return a.atDesk(cmd, func(ctx context.Context, d *desk) error {
				out := a.listing(asJSON, "ORDER", "TRACKING ID", "POLLS", "DEADLINE")
				err := a.each(keys, func(key ledger.Key, _ bool) error {
					o, err := d.pollNow(ctx, key)
					if err != nil {
						return err
					}
					return out.add(o, key.String(), o.TrackingID, fmt.Sprint(o.Polls), out.when(o.Deadline, time.Now()))
				})
				return out.finish(err)
			})
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of orders that are named by their id alone")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// pollNow moves the wake-up of a parked order to now. The slot is written over
// unconditionally, as it is everywhere: should the old one fire in the same moment, one
// due message comes of the two, and at worst one poll more.
func (d *desk) pollNow(ctx context.Context, key ledger.Key) (*order, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	rec, err := d.record(ctx, key)
	if err != nil {
		return nil, err
	}
	switch {
	case rec.State == ledger.Closed:
		return nil, withHint(fmt.Errorf("order %s is closed as %s", key, rec.Outcome), "entrust-worker request track waits again for an order by its tracking id")
	case rec.State != ledger.Parked:
		return nil, withHint(fmt.Errorf("order %s is %s, not parked", key, rec.State), "a worker has it in hand")
	}
	slot, err := d.lot.Slot(ctx, key)
	if err != nil {
		return nil, err
	}
	if slot == nil && rec.Request == nil {
		return nil, withHint(fmt.Errorf("order %s has neither a slot nor its request in the ledger", key), "if it is due at this moment, the poll is under way")
	}
	if slot == nil {
		// It fired, or was lost; the ledger knows enough to make another.
		slot = &parking.Slot{
			Key: key, Kind: rec.Kind, Deadline: rec.Deadline, TrackingID: rec.TrackingID, Replay: rec.Replay, Request: rec.Request,
		}
	}
	slot.Due = time.Now().UTC()
	if err := d.lot.Arm(ctx, slot); err != nil {
		return nil, err
	}
	o := newOrder(rec)
	o.NextPoll, o.Polls = slot.Due, slot.Attempt
	return o, nil
}

func ordersCancelCommand(a *app) *cobra.Command {
	var producer string
	how := sending{}
	noWait := false
	cmd := &cobra.Command{
		Use:   "cancel ORDER...",
		Short: "Stop waiting for an order",
		Long: `Stop waiting for an order, by a cancel request in its producer's name. The order ends as cancelled; what the
gateway issues for it later is reported in the worker's log, and request track fetches it. The gateway itself
is not told.`,
		Args: atLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := orderKeys(args, producer)
			if err != nil {
				return err
			}
			if err := noneEmpty(cmd.Flags(), "give-up-after"); err != nil {
				return err
			}
			if how.wait = !noWait; noWait && how.giveUp > 0 {
				return usagef("--give-up-after and --no-wait exclude each other")
			}
			var stay []nats.Option
			if how.wait {
				stay = a.staying()
			}
			return a.atDesk(cmd, func(ctx context.Context, d *desk) error {
				s := &sender{app: a, desk: d, how: how}
				for _, key := range keys {
					look, cancel := d.step(ctx)
					_, err := d.record(look, key)
					cancel()
					if err != nil {
						return err
					}
					s.add(key.Producer, key.String(), &entrustbus.Cancel{ID: nuid.Next(), Order: key.ID})
				}
				return s.send(ctx)
			}, stay...)
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of orders that are named by their id alone")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the worker's answer")
	cmd.Flags().Var(&how.giveUp, "give-up-after", "do not wait longer than this")
	cmd.Flags().BoolVar(&how.json, "json", false, "print one JSON object per line")
	return cmd
}
