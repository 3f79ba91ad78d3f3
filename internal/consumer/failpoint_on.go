//go:build failpoints

package consumer

import (
	"os"
	"strconv"
	"sync"
	"syscall"
)

// dying counts how often the process passed the failpoint at which it must die.
var dying = struct {
	sync.Mutex
	passes int
}{}

// failpoint kills the process as SIGKILL does. FAILPOINT_DIE_AT names the failpoint and
// FAILPOINT_DIE_PASS the pass at which it dies (default the first). These names are outside the
// worker's own prefix, under which an unknown variable is a configuration error.
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
