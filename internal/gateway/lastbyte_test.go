package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// TestLastByte enrolls with a failing check. Over both protocols the server must not get the
// whole body.
func TestLastByte(t *testing.T) {
	t.Parallel()
	lost := errors.New("the order lease is over")
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			t.Parallel()
			type got struct {
				body   int
				length int64
				err    error
			}
			arrived := make(chan got, 100)
			c := newClient(t, Config{Dialect: DialectCertctl}, func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor == 2 != http2 {
					t.Errorf("HTTP/%d is spoken", r.ProtoMajor)
				}
				body, err := io.ReadAll(r.Body)
				arrived <- got{len(body), r.ContentLength, err}
				always(200, `{"trackingId":"t","status":"PENDING"}`)(w, r)
			})
			if !http2 {
				overHTTP1(c)
			}
			enroll := func(check func() error) error {
				_, err := c.Enroll(t.Context(), Enrollment{CSR: newCSR(t), BeforeLastByte: check})
				return err
			}
			// A CSR with many names needs more than one write. The client withholds the last byte.
			var ran atomic.Int32
			if err := enroll(func() error { ran.Add(1); return nil }); err != nil || ran.Load() != 1 {
				t.Fatalf("%v, after %d checks", err, ran.Load())
			}
			if a := <-arrived; a.err != nil || int64(a.body) != a.length {
				t.Fatalf("%d of %d bytes arrived, %v", a.body, a.length, a.err)
			}
			for range 5 {
				err := enroll(func() error { return lost })
				e, _ := errors.AsType[*Error](err)
				if FateOf(err) != NotAccepted || !errors.Is(err, lost) || e.Written || !strings.Contains(err.Error(), lost.Error()) {
					t.Errorf("got %v (written: %v), want NotAccepted for the check's error", err, e != nil && e.Written)
				}
			}
			// The connection stays usable, and the abandoned request never came whole.
			if err := enroll(nil); err != nil {
				t.Error(err)
			}
			whole := 0
			for len(arrived) > 0 {
				a := <-arrived
				if a.err == nil {
					whole++
				}
				if a.err == nil != (int64(a.body) == a.length) {
					t.Errorf("%d of %d bytes arrived, %v", a.body, a.length, a.err)
				}
			}
			if whole != 1 {
				t.Errorf("%d bodies arrived whole, want that of the last enrollment", whole)
			}
		})
	}
}

// TestLastByteIsWithheld checks that the server does not have the whole body while the check
// runs. A call that is cancelled meanwhile is NotAccepted, whatever the check returns later.
// The body of a request with many names takes more than one read, so the server has most of it
// by then.
func TestLastByteIsWithheld(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ given, many bool }{{true, false}, {false, false}, {true, true}, {false, true}} {
		given := tc.given
		var came atomic.Int64
		before, after, done, returned := make(chan int64, 1), make(chan error, 1), make(chan struct{}), make(chan struct{})
		c := newClient(t, Config{Dialect: DialectCertctl}, func(w http.ResponseWriter, r *http.Request) {
			if tc.many {
				n, err := io.CopyN(io.Discard, r.Body, r.ContentLength-piece)
				if err != nil {
					t.Error(err)
				}
				came.Add(n)
			}
			before <- r.ContentLength
			n, err := io.Copy(io.Discard, r.Body)
			came.Add(n)
			after <- err
			always(200, `{"trackingId":"t","status":"PENDING"}`)(w, r)
		})
		csr := newCSR(t)
		if tc.many {
			csr = newCSR(t, manyNames()...)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := c.Enroll(ctx, Enrollment{CSR: csr, BeforeLastByte: func() error {
			defer close(done)
			if length := <-before; came.Load() >= length {
				t.Errorf("%d of %d bytes came before the check", came.Load(), length)
			}
			if given {
				cancel()
				<-returned
			}
			return nil
		}})
		close(returned)
		<-done
		want := Fate(0)
		if given {
			want = NotAccepted
		}
		if FateOf(err) != want {
			t.Errorf("given up %v: %v, want %v", given, err, want)
		}
		if err := <-after; (err == nil) == given {
			t.Errorf("given up %v: the server's read ended with %v", given, err)
		}
		cancel()
	}
}

// TestAnsweredEarly has a server refuse before it has the whole request. It cannot have accepted
// the request, whichever server answers. The gateway's own error body keeps its meaning.
func TestAnsweredEarly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		want   Fate
	}{
		{503, "no healthy upstream", NotAccepted}, {403, "<html>", NotAccepted}, {404, "", NotAccepted},
		{307, "", NotAccepted}, {408, "", NotAccepted}, {413, `{"message":"too large"}`, NotAccepted},
		{401, "", Unauthorized}, {429, "", Throttled}, {400, `{"error":"bad profile"}`, Refused},
	} {
		c := newClient(t, Config{Dialect: DialectCertctl}, early(tt.status, tt.body))
		returned := make(chan struct{})
		_, err := c.Enroll(t.Context(), Enrollment{CSR: newCSR(t), BeforeLastByte: func() error {
			<-returned // Enroll waits for the answer only
			return nil
		}})
		close(returned)
		e, _ := errors.AsType[*Error](err)
		if FateOf(err) != tt.want || e.HTTPStatus != tt.status || e.Written {
			t.Errorf("%d: %+v, want %v and not written", tt.status, err, tt.want)
		}
	}
}

// TestBodyInPieces reads the body in each way that a transport may.
func TestBodyInPieces(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789", 4000)
	for name, read := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return bufio.NewReaderSize(r, 1<<20) }, "byte by byte": iotest.OneByteReader, "in halves": iotest.HalfReader,
	} {
		ran := 0
		b := &body{rest: []byte(text)}
		b.check = func() error {
			if ran++; len(b.rest) == 0 || len(b.rest) > piece {
				t.Errorf("%s: the check runs with %d bytes left", name, len(b.rest))
			}
			return nil
		}
		got, err := io.ReadAll(read(b))
		if whole, _ := b.end(); string(got) != text || err != nil || ran != 1 || !whole {
			t.Errorf("%s: %d bytes, %v, %d checks, whole %v", name, len(got), err, ran, whole)
		}
	}
	// Shut and read at the same time: end counts every byte that was handed over.
	for range 200 {
		b := &body{rest: []byte("ab"), check: func() error { return nil }}
		var wg sync.WaitGroup
		var got []byte
		wg.Go(func() { got, _ = io.ReadAll(b) })
		whole, _ := b.end()
		wg.Wait()
		if whole != (len(got) == 2) {
			t.Fatalf("whole %v, and %d bytes were handed over", whole, len(got))
		}
	}
}

// manyNames returns the names of a request that takes more than one frame.
func manyNames() (names []string) {
	for i := range 1500 {
		names = append(names, fmt.Sprintf("host-%04d.example.net", i))
	}
	return names
}

// overHTTP1 makes a client of newClient use HTTP/1.1.
func overHTTP1(c *Client) {
	tr := c.http.Transport.(*http.Transport)
	tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	tr.ForceAttemptHTTP2 = false
}
