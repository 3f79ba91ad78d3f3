package run

import (
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervisor tells systemd, or another service manager that set NOTIFY_SOCKET, how far the
// worker is. Where none did, it does nothing. It is safe for concurrent use.
type supervisor struct {
	log *slog.Logger
}

// ready says that the start, or a reload, is over. A worker that waits for NATS is ready: it
// waits by itself, and a restart would not help.
func (s supervisor) ready(status string) { s.tell(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// reloading says that a SIGHUP is being handled. The time tells the manager which of its
// signals is meant.
func (s supervisor) reloading() {
	state := daemon.SdNotifyReloading
	if at := strings.TrimSpace(daemon.SdNotifyMonotonicUsec()); at != "" {
		state += "\n" + at
	}
	s.tell(state)
}

// stopping says that the worker drains.
func (s supervisor) stopping() { s.tell(daemon.SdNotifyStopping + "\nSTATUS=draining") }

func (s supervisor) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("telling the service manager", "err", err)
	}
}
