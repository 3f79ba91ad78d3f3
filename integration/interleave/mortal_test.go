package interleave

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// blow is a fault of a worker at one of its effects.
type blow struct {
	// Step is the number of the effect in the worker's life, from 1; 0: none.
	Step int
	// After says that the effect happened, and only its acknowledgement is lost or late.
	After bool
	// Stall is how long the worker, or its network, stalls. Zero: it dies.
	Stall time.Duration
}

func (b blow) String() string {
	what, when := "dies", "before"
	if b.Stall > 0 {
		what = fmt.Sprintf("stalls for %v", b.Stall)
	}
	if b.After {
		when = "after"
	}
	return fmt.Sprintf("%s %s effect %d", what, when, b.Step)
}

var errDead = errors.New("this worker is dead")

// mortal counts the effects of one worker, and applies its blows.
type mortal struct {
	srv     *server.Server
	effects func(subject string, payload []byte) string

	mu    sync.Mutex
	blows []blow
	steps []string // names of the effects so far
	dead  bool
	conns map[net.Conn]struct{}
	died  chan struct{}
	once  sync.Once
}

func newMortal(srv *server.Server, l streams.Layout, blows ...blow) *mortal {
	return &mortal{srv: srv, effects: effectsOf(l), blows: blows, conns: map[net.Conn]struct{}{}, died: make(chan struct{})}
}

// effectsOf names the change of a published message; "" for a message whose change no
// promise depends on.
func effectsOf(l streams.Layout) func(string, []byte) string {
	s := l.Subjects()
	prefix := func(filter string) string {
		p, _, _ := strings.Cut(filter, "*")
		return p
	}
	names := map[string]string{
		"$KV." + l.Orders + ".": "ledger", prefix(s.ParkedFilter()): "wake-up", prefix(s.ResultFilter()): "result",
		prefix(s.DeadFilter()): "letter", "$JS.API.STREAM.PURGE.": "purge", prefix(s.AuditFilter()): "audit",
	}
	return func(subject string, payload []byte) string {
		if strings.HasPrefix(subject, s.Audit("@")) {
			return "" // heads come at their own times
		}
		for p, name := range names {
			if strings.HasPrefix(subject, p) {
				return name
			}
		}
		if !strings.HasPrefix(subject, "$JS.ACK.") || bytes.HasPrefix(payload, []byte("+WPI")) {
			return ""
		}
		if bytes.HasPrefix(payload, []byte("-NAK")) {
			return "nak"
		}
		return "ack"
	}
}

// step counts an effect, and returns the worker's blow at it.
func (m *mortal) step(name string) (blow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return blow{}, errDead
	}
	m.steps = append(m.steps, name)
	for _, b := range m.blows {
		if b.Step == len(m.steps) {
			return b, nil
		}
	}
	return blow{}, nil
}

// kill ensures that no new action of the worker reaches the server or the gateway.
func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

// die ends the worker.
func (m *mortal) die() {
	m.kill()
	m.once.Do(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for c := range m.conns {
			c.Close()
		}
		close(m.died)
	})
}

// around performs an effect, or not, according to the blow.
func (m *mortal) around(name string, effect func() error) error {
	b, err := m.step(name)
	if err != nil || b.Step == 0 {
		return errors.Join(err, do(err == nil, effect))
	}
	if b.Stall == 0 {
		// Nothing may follow from the acknowledgement, which may arrive before this
		// returns.
		m.kill()
	}
	if b.After {
		err = effect()
	}
	if b.Stall == 0 {
		m.die()
		return errDead
	}
	select {
	case <-time.After(b.Stall):
	case <-m.died:
		return errDead
	}
	if !b.After {
		err = effect()
	}
	return err
}

func do(yes bool, effect func() error) error {
	if !yes {
		return nil
	}
	return effect()
}

// InProcessConn connects the worker with the server, for nats.InProcessServer.
func (m *mortal) InProcessConn() (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errDead
	}
	c, err := m.srv.InProcessConn()
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, m: m, full: make(chan struct{}, 1), closed: make(chan struct{})}
	m.conns[w] = struct{}{}
	go w.pump()
	return w, nil
}

// wire is a connection that inspects each outgoing message. Writing never blocks: the
// writer holds locks of the client, and a goroutine that waits for a lock stops fake
// time.
type wire struct {
	net.Conn
	m      *mortal
	full   chan struct{}
	closed chan struct{}
	once   sync.Once

	mu  sync.Mutex
	buf []byte
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.buf = append(w.buf, p...)
	w.mu.Unlock()
	select {
	case w.full <- struct{}{}:
	default:
	}
	select {
	case <-w.closed:
		return 0, net.ErrClosed
	default:
		return len(p), nil
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// pump sends the written data, one protocol message at a time.
func (w *wire) pump() {
	for {
		select {
		case <-w.closed:
			return
		case <-w.full:
		}
		for {
			w.mu.Lock()
			op, name := cut(w.buf, w.m.effects)
			w.buf = w.buf[len(op):]
			w.mu.Unlock()
			if len(op) == 0 {
				break
			}
			send := func() error {
				_, err := w.Conn.Write(op)
				return err
			}
			var err error
			if name == "" {
				err = send()
			} else {
				err = w.m.around(name, send)
			}
			if err != nil {
				w.Close()
				return
			}
		}
	}
}

// cut returns the first complete message of the client protocol in buf, nothing if there
// is none, and the name of its effect.
func cut(buf []byte, effects func(string, []byte) string) (op []byte, name string) {
	end := bytes.Index(buf, []byte("\r\n"))
	if end < 0 {
		return nil, ""
	}
	end += 2
	fields := strings.Fields(string(buf[:end]))
	if len(fields) < 2 || fields[0] != "PUB" && fields[0] != "HPUB" {
		return bytes.Clone(buf[:end]), ""
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil || len(buf) < end+size+2 {
		return nil, ""
	}
	payload := buf[end : end+size]
	if fields[0] == "HPUB" {
		header, _ := strconv.Atoi(fields[len(fields)-2]) // the server would refuse another form
		payload = payload[header:]
	}
	return bytes.Clone(buf[:end+size+2]), effects(fields[1], payload)
}

// transport is the worker's connection to the gateway.
type transport struct {
	m    *mortal
	base http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && !strings.Contains(r.URL.Path, "/enrollments/") {
		return t.base.RoundTrip(r) // a probe or a look-up changes nothing
	}
	var answer *http.Response
	err := t.m.around(r.Method, func() error {
		// A worker that was frozen during a call continues it at any later time.
		var err error
		if answer, err = t.base.RoundTrip(r); err != nil {
			return err
		}
		// The whole exchange is the effect.
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(body))
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}
