package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// child is a part of the benchmark in a process of its own, so that its CPU time and its
// allocations are counted separately. It is this program, started again with a role.
type child struct {
	*testbed.Process
	in  io.WriteCloser
	out *bufio.Reader
}

// startChild starts a role with its configuration. It decodes the child's first line into
// ready, which may be nil.
func startChild(role string, config, ready any) (*child, error) {
	arg, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	p, in, out, err := testbed.SpawnSelf(role, string(arg))
	if err != nil {
		return nil, err
	}
	c := &child{p, in, bufio.NewReader(out)}
	line, err := c.out.ReadBytes('\n')
	if err == nil && ready != nil {
		err = json.Unmarshal(line, ready)
	}
	if err != nil {
		c.Kill()
		return nil, fmt.Errorf("starting the %s: %w", role, err)
	}
	return c, nil
}

// mallocs returns the number of objects that the child has allocated so far.
func (c *child) mallocs() (n float64, err error) {
	if _, err = fmt.Fprintln(c.in); err == nil {
		_, err = fmt.Fscanln(c.out, &n)
	}
	return n, err
}

// serveChild reports that this child is ready, and answers mallocs until its parent
// closes the pipe.
func serveChild(ready any) error {
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(m.Mallocs)
	}
	return nil
}
