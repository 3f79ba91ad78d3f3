package main

import (
	"fmt"
	"time"
)

// scenario is one row of the table: a way to run the same orders through the bare loop
// and through the worker.
type scenario struct {
	Name     string
	InFlight int
	Latency  time.Duration // of the gateway
	Orders   int           // in one round of one side
	Dialect  string
	HTTP1    bool
	Workers  int
	Replicas int
	Sync     bool // sync_interval: always
	Policy   bool // the worker has a policy of twenty rules, and writes the audit trail
	Polls    bool // polls are measured too, at this latency
	Traces   bool // the worker exports a trace of each order over OTLP
	// Least is the bar of the design, relative to the bare loop: the share of its rate,
	// or of its use of the calls in flight. 0: no bar.
	Least float64
	env   []string // additional settings of the workers
	// MostRSS bounds the memory of one worker, in bytes. 0: no bar.
	MostRSS int64
}

// scenarios returns the rows in the order of the table. The others are variants of the
// first.
func scenarios(quick bool) []scenario {
	base := scenario{
		Name: "64 in flight, gateway at 0 ms", InFlight: 64, Orders: 4000, Dialect: "certctl",
		Workers: 1, Replicas: 1, Least: 0.6, MostRSS: 40 << 20,
	}
	as := func(name string, change func(*scenario)) scenario {
		s := base
		s.Name, s.Least, s.MostRSS = name, 0, 0
		change(&s)
		return s
	}
	all := []scenario{
		base,
		as("64 in flight, gateway at 100 ms", func(s *scenario) { s.Latency, s.Least, s.Polls = 100*time.Millisecond, 0.97, true }),
		as("512 in flight, gateway at 250 ms", func(s *scenario) {
			s.InFlight, s.Latency, s.Orders, s.Least, s.MostRSS = 512, 250*time.Millisecond, 6000, 0.9, 90<<20
		}),
		as("policy and audit", func(s *scenario) { s.Policy, s.Least = true, 0.55 }),
		as("traces", func(s *scenario) { s.Traces = true }),
		as("dialect cagw", func(s *scenario) { s.Dialect = "cagw" }),
		as("HTTP/1.1", func(s *scenario) { s.HTTP1 = true }),
		as("two workers", func(s *scenario) { s.Workers = 2 }),
		as("three replicas", func(s *scenario) { s.Replicas, s.Orders = 3, 3000 }),
		as("one replica, sync_interval: always", func(s *scenario) { s.Sync, s.Orders = true, 2000 }),
		as("three replicas, sync_interval: always", func(s *scenario) { s.Replicas, s.Sync, s.Orders = 3, true, 2000 }),
	}
	if quick {
		all = all[:3]
	}
	return all
}

// bus names the servers of a scenario. Scenarios with the same servers share them.
func (s *scenario) bus() string { return fmt.Sprintf("replicas-%d-sync-%t", s.Replicas, s.Sync) }
