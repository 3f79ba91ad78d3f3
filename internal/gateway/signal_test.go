package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// TestNotProcessed has an HTTP/2 server end enrollments in every way of the protocol. Each is
// written once: net/http repeats none by itself.
func TestNotProcessed(t *testing.T) {
	t.Parallel()
	const pending = `{"trackingId":"t","status":"PENDING"}`
	reset := func(code http2.ErrCode) func(h2Conn, uint32) bool {
		return func(c h2Conn, stream uint32) bool { _ = c.WriteRSTStream(stream, code); return true }
	}
	goAway := func(below uint32, code http2.ErrCode) func(h2Conn, uint32) bool {
		return func(c h2Conn, stream uint32) bool {
			_ = c.WriteGoAway(stream-below, code, nil)
			if below == 0 {
				c.conn.Close()
			}
			return false
		}
	}
	tests := []struct {
		name    string
		first   bool // on the first stream of its connection
		end     func(h2Conn, uint32) bool
		want    Fate
		message string
	}{
		{"REFUSED_STREAM", false, reset(http2.ErrCodeRefusedStream), NotAccepted, "REFUSED_STREAM"},
		{"REFUSED_STREAM of the first", true, reset(http2.ErrCodeRefusedStream), NotAccepted, "REFUSED_STREAM"},
		{"GOAWAY below", false, goAway(2, http2.ErrCodeNo), NotAccepted, "GOAWAY"},
		{"GOAWAY below the first", true, goAway(1, http2.ErrCodeNo), NotAccepted, "GOAWAY"},
		{"GOAWAY with an error below", false, goAway(2, http2.ErrCodeEnhanceYourCalm), NotAccepted, "GOAWAY"},
		{"GOAWAY with an error below the first", true, goAway(1, http2.ErrCodeEnhanceYourCalm), NotAccepted, "GOAWAY"},
		{"HTTP_1_1_REQUIRED", false, reset(http2.ErrCodeHTTP11Required), NotAccepted, "HTTP_1_1_REQUIRED"},
		{"HTTP_1_1_REQUIRED of the first", true, reset(http2.ErrCodeHTTP11Required), NotAccepted, "HTTP_1_1_REQUIRED"},
		{"GOAWAY with HTTP_1_1_REQUIRED", true, goAway(1, http2.ErrCodeHTTP11Required), NotAccepted, "HTTP_1_1_REQUIRED"},

		{"GOAWAY at the stream", false, goAway(0, http2.ErrCodeNo), Unknown, ""},
		{"GOAWAY with an error at the stream", true, goAway(0, http2.ErrCodeInternal), Unknown, ""},
		{"CANCEL", false, reset(http2.ErrCodeCancel), Unknown, ""},
		{"INTERNAL_ERROR", false, reset(http2.ErrCodeInternal), Unknown, ""},
		// net/http treats this code as safe to repeat. It is not.
		{"PROTOCOL_ERROR", false, reset(http2.ErrCodeProtocol), Unknown, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var posts atomic.Int32
			url, tr := rawServer(t, &tls.Config{NextProtos: []string{"h2"}}, serveH2(t, func(c h2Conn, stream uint32) bool {
				if stream == 1 && !tt.first {
					c.answer(stream, "200", pending)
					return true
				}
				posts.Add(1)
				return tt.end(c, stream)
			}))
			c, err := New(Config{URL: url, CAID: "ca-1", Dialect: DialectCertctl}, &http.Client{Transport: tr}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.first {
				if _, err := c.Poll(t.Context(), Poll{TrackingID: "t"}); err != nil {
					t.Fatal(err)
				}
			}
			_, err = c.Enroll(t.Context(), Enrollment{CSR: newCSR(t), BeforeLastByte: func() error { return nil }})
			e, _ := errors.AsType[*Error](err)
			if FateOf(err) != tt.want || !strings.Contains(err.Error(), tt.message) || !e.Written {
				t.Errorf("got %v (written: %v), want %v and %q", err, e != nil && e.Written, tt.want, tt.message)
			}
			if n := posts.Load(); n != 1 {
				t.Errorf("the enrollment was written %d times", n)
			}
		})
	}
}

// http1Transport counts the calls of UseHTTP1.
type http1Transport struct {
	*http.Transport
	told atomic.Int32
}

func (t *http1Transport) UseHTTP1() {
	if t.told.Add(1) == 1 {
		plain := t.Transport.Clone()
		plain.Protocols = new(http.Protocols)
		plain.Protocols.SetHTTP1(true)
		plain.TLSClientConfig.NextProtos, plain.TLSNextProto = nil, nil // set by the first transport
		t.Transport = plain
	}
}

// TestFallBackToHTTP1 checks that the client uses HTTP/1.1 from the first HTTP_1_1_REQUIRED on.
// It repeats the call if the operation may be repeated, but not a written enrollment.
func TestFallBackToHTTP1(t *testing.T) {
	t.Parallel()
	h2 := serveH2(t, func(c h2Conn, stream uint32) bool {
		_ = c.WriteRSTStream(stream, http2.ErrCodeHTTP11Required)
		return true
	})
	var posts atomic.Int32
	h1 := serveHTTP1(func(w io.Writer, r *http.Request) bool {
		if r.Method == http.MethodPost {
			posts.Add(1)
		}
		ok(w, `{"caId":"ca-1","trackingId":"t","status":"PENDING"}`, "")
		return true
	})
	start := func() (*Client, *http1Transport) {
		url, tr := rawServer(t, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, func(tc *tls.Conn) {
			if tc.ConnectionState().NegotiatedProtocol == "h2" {
				h2(tc)
				return
			}
			h1(tc)
		})
		both := &http1Transport{Transport: tr}
		c, err := New(Config{URL: url, CAID: "ca-1", Dialect: DialectCertctl}, &http.Client{Transport: both}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, both
	}
	c, tr := start()
	if err := c.Probe(t.Context()); err != nil || tr.told.Load() != 1 {
		t.Errorf("Probe: %v, told %d times", err, tr.told.Load())
	}
	if _, err := c.Enroll(t.Context(), Enrollment{CSR: newCSR(t)}); err != nil {
		t.Errorf("Enroll over HTTP/1.1: %v", err)
	}
	c, _ = start()
	if _, err := c.Enroll(t.Context(), Enrollment{CSR: newCSR(t)}); FateOf(err) != NotAccepted || !err.(*Error).Written {
		t.Errorf("the first enrollment: %v, want NotAccepted and written", err)
	}
	if _, err := c.Enroll(t.Context(), Enrollment{CSR: newCSR(t)}); err != nil {
		t.Errorf("the second enrollment: %v", err)
	}
	if n := posts.Load(); n != 2 {
		t.Errorf("%d enrollments came over HTTP/1.1, want 2", n)
	}
}
