package run

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// notified is a socket as systemd listens on it, named in the environment.
func notified(t *testing.T) func() string {
	t.Helper()
	// A socket's path is short; that of t.TempDir may not be.
	dir, err := os.MkdirTemp("", "notify-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestSupervisorIsTold(t *testing.T) {
	next := notified(t)
	s := supervisor{log: slog.New(slog.DiscardHandler)}
	for _, tt := range []struct {
		do   func()
		want string
	}{
		{func() { s.ready("waiting for NATS") }, `^READY=1\nSTATUS=waiting for NATS$`},
		{s.reloading, `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]+$`},
		{func() { s.ready("working") }, `^READY=1\nSTATUS=working$`},
		{s.stopping, `^STOPPING=1\nSTATUS=draining$`},
	} {
		tt.do()
		if got := next(); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("got %q, want %s", got, tt.want)
		}
	}
}
