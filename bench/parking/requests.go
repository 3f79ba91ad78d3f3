package main

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// The two kinds of orders. The first part of a common name tells the simulator
// what becomes of an order.
const (
	kindHold  = "hold"  // pending until it is approved
	kindIssue = "issue" // issued at once
)

// requests are CSRs made ahead of time, each with a key of its own, so that the
// simulator's count of keys that were enrolled twice is a count of duplicates.
type requests struct {
	kind string
	csrs [][]byte
}

// makeRequests makes n CSRs on all cores. It takes some 50 µs of CPU for each.
func makeRequests(kind string, n int) (*requests, error) {
	r := &requests{kind: kind, csrs: make([][]byte, n)}
	var g errgroup.Group
	cores := runtime.GOMAXPROCS(0)
	for core := range cores {
		g.Go(func() error {
			for i := core; i < n; i += cores {
				var err error
				if r.csrs[i], err = oracle.NewCSR(r.name(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return r, nil
}

// name is the common name of order i, and its only DNS name.
func (r *requests) name(i int) string { return fmt.Sprintf("%s-%07d.bench.example", r.kind, i) }

// id is the order id of order i.
func (r *requests) id(i int) string { return fmt.Sprintf("%s-%07d", r.kind, i) }

// index is the inverse of id and of name. It reports whether the order is one
// of these.
func (r *requests) index(idOrName string) (int, bool) {
	word, _, _ := strings.Cut(idOrName, ".")
	digits, ok := strings.CutPrefix(word, r.kind+"-")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(digits)
	return i, err == nil && i >= 0 && i < len(r.csrs)
}

// body is the request of order i as it is published.
func (r *requests) body(i int) ([]byte, error) {
	return entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, &entrustbus.Issue{ID: r.id(i), CSRDER: r.csrs[i]})
}
