package testbed_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A slow link delays each chunk in each direction, and keeps the bytes in order.
func TestLinkJitter(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		if c, err := echo.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	link, err := testbed.NewLink(echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	c, err := net.Dial("tcp", link.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const delay = 20 * time.Millisecond
	link.Jitter(delay, delay)
	lines := bufio.NewReader(c)
	for _, word := range []string{"one\n", "two\n", "three\n"} {
		begun := time.Now()
		if _, err := io.WriteString(c, word); err != nil {
			t.Fatal(err)
		}
		got, err := lines.ReadString('\n')
		if took := time.Since(begun); err != nil || got != word || took < 2*delay {
			t.Errorf("got %q (%v) after %v, want %q after %v at least", got, err, took, word, 2*delay)
		}
	}
	link.Heal()
}
