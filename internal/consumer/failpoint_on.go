//go:build failpoints

package consumer

import (
	"os"
	"strconv"
	"sync"
	"syscall"
)

// dying counts how often the process came by the failpoint that it is to die at.
var dying = struct {
	sync.Mutex
	passes int
}{}

// failpoint kills the process, as SIGKILL does, when it comes by the failpoint that
// FAILPOINT_DIE_AT names for the FAILPOINT_DIE_PASS-th time (default the first).
// The names lie outside the worker's own prefix, under which an unknown one is an
// error of the configuration.
func failpoint(name string) {
	if os.Getenv("FAILPOINT_DIE_AT") != name {
		return
	}
	pass, err := strconv.Atoi(os.Getenv("FAILPOINT_DIE_PASS"))
	if err != nil {
		pass = 1
	}
	dying.Lock()
	defer dying.Unlock()
	if dying.passes++; dying.passes == pass {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
