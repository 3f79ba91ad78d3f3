package run

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

// lookOnHangup makes each SIGHUP look at the key pair and the policy file on disk, until
// the function it returns is called. wake then has a gateway that refused the old pair
// probed at once. rules is nil where there is no policy.
func lookOnHangup(cache *mtlscache.Cache, rules *policyfile.File, wake func(), manager supervisor, log *slog.Logger) func() {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-hangup:
			}
			manager.reloading()
			if rules != nil {
				rules.Look()
			}
			if err := cache.Look(); err != nil {
				log.Error("looking at the key pair", "err", err)
			} else {
				wake()
				log.Info("looked at the key pair", "not_after", cache.NotAfter())
			}
			// A manager waits for this, also where the files are wrong: the old ones stay in force.
			manager.ready("working")
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(done)
	}
}
