package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// scenario is one scenario. Each has a file of its own, and all share run.go and
// frame.go.
type scenario struct {
	name, about string
	span        time.Duration // default of --for
	orders      int           // default of --orders
	// setup returns the configuration of a run, which may depend on the seed.
	setup func(ctx context.Context, r *run) (setup, error)
	// play plays the opened run.
	play func(ctx context.Context, r *run) (*tally, error)
}

// scenarios returns all scenarios.
func scenarios() []scenario {
	return []scenario{
		{"all", "orders and faults of every kind", 2 * time.Minute, 300, setupAll, playAll},
		{"parking", "leaders die while parked orders are due", 0, 2000, setupParking, playParking},
		{"partial", "one operation, or one CA, answers badly while everything else works", time.Minute, 2400, setupPartial, playPartial},
		{"proxy", "a proxy answers in the gateway's place, refuses streams and closes connections", time.Minute, 600, setupProxy, playProxy},
		{"clocks", "workers whose clocks are hours and years wrong", time.Minute, 300, setupClocks, playClocks},
		{"frozen", "workers are frozen for longer than lease and settle time", time.Minute, 600, setupFrozen, playFrozen},
		{"rollback", "the store of the one replica is put back to an earlier state", time.Minute, 300, setupRollback, playRollback},
		{"slow-net", "every packet between workers, servers and gateway is delayed by a random time", time.Minute, 400, setupSlowNet, playSlowNet},
		{"upgrade", "servers go from 2.14 to 2.15 and back under parked orders", 75 * time.Second, 400, setupUpgrade, playUpgrade},
		{"neighbours", "other producers send garbage, other producers' message ids, floods and unknown CAs", time.Minute, 400, setupNeighbours, playNeighbours},
		{"rolling", "a rolling deploy from the previous revision's worker to this one's, and back, under kills", 75 * time.Second, 1000, setupRolling, playRolling},
	}
}

// scenarioOf finds a scenario by its name.
func scenarioOf(name string) (scenario, error) {
	all := scenarios()
	i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
	if i < 0 {
		var names []string
		for _, s := range all {
			names = append(names, s.name)
		}
		return scenario{}, fmt.Errorf("unknown --scenario %q (known: %s)", name, strings.Join(names, ", "))
	}
	return all[i], nil
}
