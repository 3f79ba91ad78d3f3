package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// csrs are certificate requests made in advance, each with a key of its own. They are
// reused under new ids: neither worker nor gateway rejects that.
type csrs struct {
	all  [][]byte
	used int
}

func makeCSRs(n int) (*csrs, error) {
	c := &csrs{all: make([][]byte, n)}
	var g errgroup.Group
	cores := runtime.GOMAXPROCS(0)
	for core := range cores {
		g.Go(func() (err error) {
			for i := core; i < n && err == nil; i += cores {
				c.all[i], err = oracle.NewCSR(fmt.Sprintf("host-%07d.bench.example", i))
			}
			return err
		})
	}
	return c, g.Wait()
}

// next returns n requests with unused ids.
func (c *csrs) next(n int) (ids []string, some [][]byte) {
	for range n {
		ids = append(ids, fmt.Sprintf("order-%08d", c.used))
		some = append(some, c.all[c.used%len(c.all)])
		c.used++
	}
	return ids, some
}

// ownCPU returns the CPU time of this process so far.
func ownCPU() (time.Duration, error) {
	u, err := testbed.UsageOf(os.Getpid())
	return u.CPU, err
}
