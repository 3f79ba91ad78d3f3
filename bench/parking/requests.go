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

// The two kinds of orders. The first part of a common name tells the simulator how to
// handle an order.
const (
	kindHold  = "hold"  // pending until it is approved
	kindIssue = "issue" // issued at once
)

// requests are CSRs made in advance, each with a key of its own. So the simulator's count
// of keys enrolled twice is a count of duplicates.
type requests struct {
	kind string
	csrs [][]byte
}

// makeRequests makes n CSRs on all cores. Each takes about 50 µs of CPU.
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

// name returns the common name of order i, which is its only DNS name.
func (r *requests) name(i int) string { return fmt.Sprintf("%s-%07d.bench.example", r.kind, i) }

// id returns the order id of order i.
func (r *requests) id(i int) string { return fmt.Sprintf("%s-%07d", r.kind, i) }

// index is the inverse of id and of name. It returns false for an order that is not among
// the requests.
func (r *requests) index(idOrName string) (int, bool) {
	word, _, _ := strings.Cut(idOrName, ".")
	digits, ok := strings.CutPrefix(word, r.kind+"-")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(digits)
	return i, err == nil && i >= 0 && i < len(r.csrs)
}

// body returns the encoded request of order i.
func (r *requests) body(i int) ([]byte, error) {
	return entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, &entrustbus.Issue{ID: r.id(i), CSRDER: r.csrs[i]})
}
