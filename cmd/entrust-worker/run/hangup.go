package run

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

// lookEvery is the pause between two looks at the key pair. Calls look themselves. While a
// pair that cannot be used keeps the worker from calling, nothing else would see it
// corrected before the next probe.
const lookEvery = time.Second

// files are those that an operator replaces while the worker runs: the key pair and the
// policy file.
type files struct {
	cache   *mtlscache.Cache
	explain func(error) error // names the file of an error by its key
	rules   *policyfile.File  // nil: there is no policy
	wake    func()            // has a gateway that refused the pair before probed at once
	manager supervisor
	log     *slog.Logger

	broken  bool // the pair could not be used at the last look
	reloads uint64
}

// watch looks at the files on each SIGHUP, and at the key pair each second, until the
// function it returns is called.
func (f *files) watch() func() {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	f.reloads = f.cache.Reloads()
	go func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				f.look()
			case <-hangup:
				f.manager.reloading()
				f.hangup()
				// A manager waits for this, also where the files are wrong: the old ones stay in force.
				f.manager.ready("working")
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(done)
	}
}

// look has the gateway probed where the key pair changed, or can be used again.
func (f *files) look() {
	err := f.cache.Check()
	corrected := f.broken || f.cache.Reloads() != f.reloads
	f.broken, f.reloads = err != nil, f.cache.Reloads()
	if corrected && err == nil {
		f.wake()
	}
}

// hangup reads the policy file and the key pair, before it has the gateway probed.
func (f *files) hangup() {
	if f.rules != nil {
		f.rules.Look()
	}
	if err := f.cache.Look(); err != nil {
		f.broken = true
		f.log.Error("looking at the key pair; the worker looks again each second", "err", f.explain(err), "hint", "replace the files; entrust-worker check tries them")
		return
	}
	f.broken, f.reloads = false, f.cache.Reloads()
	f.wake()
	f.log.Info("looked at the key pair", "not_after", f.cache.NotAfter())
}
