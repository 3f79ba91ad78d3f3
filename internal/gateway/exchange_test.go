package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// enrollFate enrolls and returns the fate. It fails the test if the error holds the CSR.
func enrollFate(t *testing.T, ctx context.Context, c *Client) (Fate, error) {
	t.Helper()
	csr := newCSR(t, "shop.example.net")
	_, err := c.Enroll(ctx, Enrollment{CSR: csr})
	if e, ok := errors.AsType[*Error](err); ok && strings.Contains(e.Error(), base64.StdEncoding.EncodeToString(csr.Raw)[:40]) {
		t.Errorf("the CSR is in the error: %v", err)
	}
	return FateOf(err), err
}

func TestNotWritten(t *testing.T) {
	t.Parallel()
	closed := httptest.NewTLSServer(nil)
	closed.Close()
	reset, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reset.Close() })
	go func() {
		for {
			conn, err := reset.Accept()
			if err != nil {
				return
			}
			conn.Close() // before any TLS
		}
	}()
	stranger := httptest.NewUnstartedServer(always(200, `{}`))
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	for name, url := range map[string]string{
		"refused connection":   closed.URL,
		"reset in TLS":         "https://" + reset.Addr().String(),
		"unknown server CA":    stranger.URL,
		"host without address": "https://nothing.invalid",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := New(Config{URL: url, CAID: "ca-1", ProfileID: "p", Dialect: DialectCAGW}, &http.Client{Transport: &http.Transport{}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			fate, err := enrollFate(t, t.Context(), c)
			if fate != NotAccepted {
				t.Errorf("got %v, want NotAccepted", err)
			}
			if e := err.(*Error); e.HTTPStatus != 0 || e.Message == "" || strings.Contains(e.Message, "https://") || e.Class != "network" && e.Class != "timeout" {
				t.Errorf("got %+v", e)
			}
		})
	}
	t.Run("context ended before", func(t *testing.T) {
		t.Parallel()
		c := newClient(t, Config{Dialect: DialectCAGW}, always(200, `{}`))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		fate, err := enrollFate(t, ctx, c)
		if fate != NotAccepted || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want NotAccepted for context.Canceled", err)
		}
	})
}

func TestWrittenWithoutAnswer(t *testing.T) {
	t.Parallel()
	half := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(200)
		_, _ = io.WriteString(w, `{"enrollment":{"id":"`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		class   string
	}{
		// A server that closes before it has read the whole request did not accept it.
		{"cut", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}, "network"},
		{"half a body", half, "network"},
		{"too slow", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // a return would be an answer
		}, "timeout"},
		{"too slow in the body", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // a return would end the answer
		}, "timeout"},
	}
	for _, tt := range tests {
		for _, http2 := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/http2=%v", tt.name, http2), func(t *testing.T) {
				t.Parallel()
				cfg := Config{Dialect: DialectCAGW}
				if tt.class == "timeout" {
					cfg.EnrollTimeout = time.Second
				}
				var calls atomic.Int32
				c := newClient(t, cfg, func(w http.ResponseWriter, r *http.Request) {
					if r.ProtoMajor == 2 != http2 {
						t.Errorf("HTTP/%d is spoken", r.ProtoMajor)
					}
					if r.Method == http.MethodGet {
						return
					}
					calls.Add(1)
					tt.handler(w, r)
				})
				if !http2 {
					c.http.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
					c.http.Transport.(*http.Transport).ForceAttemptHTTP2 = false
				}
				_ = c.Probe(t.Context()) // opens the connection outside the enroll timeout
				fate, err := enrollFate(t, t.Context(), c)
				if fate != Unknown {
					t.Fatalf("got %v, want Unknown", err)
				}
				if e := err.(*Error); e.Class != tt.class {
					t.Errorf("class %q, want %q", e.Class, tt.class)
				}
				if n := calls.Load(); n != 1 {
					t.Errorf("the enrollment was sent %d times", n)
				}
			})
		}
	}
}

// TestHowFarARequestWent feeds sentTrace every report of the transport.
func TestHowFarARequestWent(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	broken := &net.OpError{Op: "write", Err: errors.New("broken pipe")}
	gone := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}
	internal := &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}
	type hooks = *httptrace.ClientTrace
	get := func(h hooks) { h.GetConn("gateway:443") }
	conn := func(protocol string, reused bool) func(hooks) {
		return func(h hooks) { h.GotConn(httptrace.GotConnInfo{Conn: tlsConn{protocol: protocol}, Reused: reused}) }
	}
	answer := func(h hooks) { h.GotFirstResponseByte() }
	header := func(h hooks) { h.WroteHeaders() }
	body := func(err error) func(hooks) {
		return func(h hooks) { h.WroteRequest(httptrace.WroteRequestInfo{Err: err}) }
	}
	// handed stands for the transport's reading of the body.
	handed := func(hooks) {}
	tests := []struct {
		name   string
		hooks  []func(hooks)
		err    error
		cancel bool // the context ends before the error
		want   Fate
	}{
		{"no connection", []func(hooks){get}, refused, false, NotAccepted},
		{"connection, nothing written", []func(hooks){get, conn("h2", false)}, gone, false, NotAccepted},
		{"given up with a connection", []func(hooks){get, conn("h2", false)}, context.Canceled, true, NotAccepted},
		{"given up without", []func(hooks){get}, context.Canceled, true, NotAccepted},
		{"header only", []func(hooks){get, conn("h2", true), header}, gone, false, NotAccepted},
		{"given up within", []func(hooks){get, conn("h2", true), header}, context.Canceled, true, NotAccepted},
		{"given up with the body handed over", []func(hooks){get, conn("h2", true), header, handed}, context.Canceled, true, Unknown},
		{"body handed over, perhaps written", []func(hooks){get, conn("h2", true), header, handed}, gone, false, Unknown},
		{"body failed", []func(hooks){get, conn("h2", true), header, handed, body(broken)}, broken, false, NotAccepted},
		{"body failed when given up", []func(hooks){get, conn("h2", true), header, body(context.Canceled)}, context.Canceled, true, NotAccepted},
		{"all written", []func(hooks){get, conn("h2", true), header, handed, body(nil)}, gone, false, Unknown},
		{"all written, another write failed", []func(hooks){get, conn("h2", true), header, handed, body(nil)}, broken, false, Unknown},
		{"all buffered, flush failed", []func(hooks){get, conn("http/1.1", true), header, handed, body(nil)}, broken, false, NotAccepted},
		{"all flushed", []func(hooks){get, conn("http/1.1", true), header, handed, body(nil)}, gone, false, Unknown},
		{"unknown kind of connection", []func(hooks){get, func(h hooks) { h.GotConn(httptrace.GotConnInfo{}) }, header, handed, body(nil)}, broken, false, Unknown},
		{"alert on a fresh connection", []func(hooks){get, conn("h2", false), header, handed, body(nil)}, alert, false, Unauthorized},
		{"alert on a connection of calls before", []func(hooks){get, conn("h2", true), header, handed, body(nil)}, alert, false, Unknown},
		{"alert after an answer began", []func(hooks){get, conn("h2", false), header, handed, body(nil), answer}, alert, false, Unknown},
		{"other alert on a fresh connection", []func(hooks){get, conn("h2", false), header, handed, body(nil)}, internal, false, Unknown},
		{"alert in the handshake", []func(hooks){get}, alert, false, Unauthorized},
		{"second attempt of an unread body", []func(hooks){get, conn("h2", true), get}, refused, false, NotAccepted},
		{"second attempt lost", []func(hooks){get, conn("h2", true), get, conn("h2", false), header, handed, body(nil)}, gone, false, Unknown},
	}
	for _, tt := range tests {
		ctx, cancel := context.WithCancel(t.Context())
		c := fakeTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			for _, hook := range tt.hooks {
				if reflect.ValueOf(hook).Pointer() == reflect.ValueOf(handed).Pointer() {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				hook(httptrace.ContextClientTrace(r.Context()))
			}
			if tt.cancel {
				cancel()
			}
			return nil, tt.err
		}))
		if fate, err := enrollFate(t, ctx, c); fate != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		cancel()
	}
}

// TestCallsThatShareAConnection breaks an HTTP/2 connection under two calls with an alert
// about the client's certificate. The transport tells only the first that the connection is new.
func TestCallsThatShareAConnection(t *testing.T) {
	t.Parallel()
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: expired certificate")}
	type isFirst struct{}
	for _, tt := range []struct {
		name     string
		answered bool // the first byte of an answer to the first call came
		gone     bool // the first call ends before the second begins
		want     Fate // of the second call
	}{
		{"nothing answered", false, false, Unauthorized},
		{"answered before", true, false, Unknown}, // so the certificate was accepted
		{"opened by an earlier call", true, true, Unknown},
		{"opened by an earlier call that had no answer", false, true, Unauthorized},
	} {
		written, below := make(chan struct{}), &hearingConn{}
		breaks := map[bool]chan struct{}{true: make(chan struct{}), false: make(chan struct{})}
		c := fakeTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			first := r.Context().Value(isFirst{}) != nil
			h := httptrace.ContextClientTrace(r.Context())
			h.GetConn("gateway:443")
			h.GotConn(httptrace.GotConnInfo{Conn: tlsConn{Conn: below, protocol: "h2"}, Reused: !first})
			h.WroteHeaders()
			_, _ = io.Copy(io.Discard, r.Body)
			h.WroteRequest(httptrace.WroteRequestInfo{})
			if first && tt.answered {
				h.GotFirstResponseByte()
			}
			written <- struct{}{}
			<-breaks[first]
			return nil, alert
		}))
		enroll := func(ctx context.Context) <-chan Fate {
			fate := make(chan Fate, 1)
			csr := newCSR(t)
			go func() {
				_, err := c.Enroll(ctx, Enrollment{CSR: csr})
				fate <- FateOf(err)
			}()
			<-written
			return fate
		}
		first := enroll(context.WithValue(t.Context(), isFirst{}, true))
		if tt.gone {
			close(breaks[true])
			<-first
		}
		second := enroll(t.Context())
		close(breaks[false])
		if got := <-second; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if !tt.gone {
			close(breaks[true])
			<-first
		}
	}
}

// tlsConn is a connection that negotiated a protocol.
type tlsConn struct {
	net.Conn
	protocol string
}

func (c tlsConn) NetConn() net.Conn { return c.Conn }

func (c tlsConn) ConnectionState() tls.ConnectionState {
	return tls.ConnectionState{NegotiatedProtocol: c.protocol}
}

func TestKeyPairUnreadable(t *testing.T) {
	t.Parallel()
	c := fakeTransport(t, roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("reading key pair: %w", noKeyPair{})
	}))
	fate, err := enrollFate(t, t.Context(), c)
	if fate != Unauthorized || !strings.Contains(err.Error(), "reading key pair") || err.(*Error).Class != "auth" {
		t.Errorf("got %v, want Unauthorized", err)
	}
}

type noKeyPair struct{}

func (noKeyPair) Error() string     { return "certificate and key do not match" }
func (noKeyPair) Credentials() bool { return true }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func fakeTransport(t *testing.T, rt http.RoundTripper) *Client {
	t.Helper()
	c, err := New(Config{URL: "https://gateway", CAID: "ca-1", ProfileID: "p", Dialect: DialectCAGW}, &http.Client{Transport: rt}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClientCertificateRefused covers TLS 1.3, where the alert arrives after the client
// may have written its request, and TLS 1.2, where it ends the handshake.
func TestClientCertificateRefused(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	key := newKey(t)
	foreign := ca.sign(&x509.Certificate{SerialNumber: serialOf("1"), NotAfter: time.Now().Add(time.Hour)}, ca.issuing, key.Public(), ca.issuingKey)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, http2 := range []bool{true, false} {
			for _, with := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/http2=%v/certificate=%v", tls.VersionName(version), http2, with), func(t *testing.T) {
					t.Parallel()
					srv := httptest.NewUnstartedServer(always(200, `{}`))
					srv.EnableHTTP2 = http2
					srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
					srv.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MinVersion: version, MaxVersion: version}
					srv.StartTLS()
					t.Cleanup(srv.Close)
					hc := srv.Client()
					if with {
						hc.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
							return &tls.Certificate{Certificate: [][]byte{foreign.Raw}, PrivateKey: key}, nil
						}
					}
					c, err := New(Config{URL: srv.URL, CAID: "ca-1", ProfileID: "p", Dialect: DialectCAGW}, hc, nil)
					if err != nil {
						t.Fatal(err)
					}
					want := Unauthorized // TLS 1.2 reports a missing certificate only as a handshake failure
					fate, err := enrollFate(t, t.Context(), c)
					// The end of the connection may arrive before the alert. The fate must not be Unknown.
					if version == tls.VersionTLS13 && fate == NotAccepted && strings.Contains(err.Error(), "may have refused the client certificate") {
						want = NotAccepted
					}
					if fate != want {
						t.Errorf("got %v, want %v", err, want)
					}
				})
			}
		}
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]Fate{301: Unknown, 302: Unknown, 303: Unknown, 307: Unknown, 308: Unknown, 304: Unknown} {
		calls := 0
		c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
			calls++
			_, _ = io.Copy(io.Discard, r.Body) // an early refusal would be NotAccepted
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		if fate, err := enrollFate(t, t.Context(), c); fate != want || calls != 1 {
			t.Errorf("%d: %v after %d calls, want %v after 1", status, err, calls, want)
		}
	}
}

func TestGivenClientIsCopied(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect))
	t.Cleanup(srv.Close)
	hc := srv.Client()
	hc.Timeout = time.Nanosecond // must not limit the client's calls
	c, err := New(Config{URL: srv.URL, CAID: "ca-1", Dialect: DialectCertctl}, hc, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Probe(t.Context()); FateOf(err) != Unknown || err.(*Error).HTTPStatus != 307 {
		t.Errorf("Probe: %v, want the redirect", err)
	}
	if hc.CheckRedirect != nil || hc.Timeout != time.Nanosecond {
		t.Error("the given client was changed")
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	huge := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"enrollment":{"id":"1","status":"`)
			_, _ = io.Copy(w, io.LimitReader(zeros{}, maxBody))
			_, _ = io.WriteString(w, `"}}`)
		}
	}
	for status, want := range map[int]Fate{200: Unreadable, 400: Unknown, 503: Unknown} {
		c := newClient(t, Config{Dialect: DialectCAGW}, huge(status))
		fate, err := enrollFate(t, t.Context(), c)
		if fate != want {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// TestNothingOfTheBodyGetsOut has a gateway echo the whole request in every member, and searches
// errors and log for it.
func TestNothingOfTheBodyGetsOut(t *testing.T) {
	t.Parallel()
	csr := newCSR(t, "shop.example.net")
	bare := base64.StdEncoding.EncodeToString(csr.Raw)
	armoured := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr.Raw}))
	for _, dialect := range []Dialect{DialectCAGW, DialectCertctl} {
		for _, status := range []int{200, 201, 302, 400, 401, 403, 404, 409, 422, 429, 500, 501, 502, 503} {
			for name, answer := range map[string]string{
				"code":     asJSON(t, jsonMap{"error": jsonMap{"code": armoured, "message": "bad"}}),
				"message":  asJSON(t, jsonMap{"error": jsonMap{"code": "x", "message": "cannot use " + armoured}}),
				"base64":   asJSON(t, jsonMap{"error": jsonMap{"code": "x", "message": "cannot use " + bare}}),
				"text":     asJSON(t, jsonMap{"error": armoured}),
				"details":  asJSON(t, jsonMap{"type": "ErrorResponse", "error": jsonMap{"code": "x", "message": "bad", "value": bare, "details": []any{bare}}}),
				"HTML":     "<html>" + armoured + "</html>",
				"status":   asJSON(t, jsonMap{"trackingId": "t", "status": bare, "enrollment": jsonMap{"id": "t", "status": armoured}}),
				"rejected": asJSON(t, jsonMap{"status": "REJECTED", "message": bare, "enrollment": jsonMap{"status": "REJECTED"}}),
				"body":     asJSON(t, jsonMap{"certificate": bare, "enrollment": jsonMap{"body": bare}}),
				"PEM body": asJSON(t, jsonMap{"certificate": armoured, "enrollment": jsonMap{"body": armoured}}),
			} {
				var log bytes.Buffer
				c := fakeTransport(t, pathGateway(func(*http.Request) (int, string) { return status, answer }))
				c.log = slog.New(slog.NewTextHandler(&log, nil))
				if dialect == DialectCertctl {
					c.speak(certctl{})
				}
				a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
				seen := fmt.Sprint(err, a.Status, a.Code, a.Message, log.String())
				if e, ok := err.(*Error); ok {
					seen += fmt.Sprintf("%+v %v", *e, errors.Unwrap(err))
				}
				for i := 0; i+40 <= len(bare); i += 20 {
					if strings.Contains(seen, bare[i:i+20]) {
						t.Errorf("%s %d %s: the CSR shows in %s", dialect, status, name, seen)
						break
					}
				}
				if a.State == Issued {
					t.Errorf("%s %d %s: a CSR was taken for a certificate", dialect, status, name)
				}
			}
		}
	}
}

func TestOrderAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		dialect Dialect
		status  int
		body    string
		state   State
		fate    Fate
		class   string
	}{
		{"pending without tracking id", DialectCertctl, 201, `{"status":"PENDING"}`, 0, Unreadable, "other"},
		{"issued without certificate", DialectCertctl, 200, `{"trackingId":"t","status":"ISSUED"}`, 0, Unreadable, "other"},
		{"issued with an empty certificate", DialectCAGW, 200, `{"enrollment":{"id":"t","status":"ISSUED","body":" "}}`, 0, Unreadable, "other"},
		{"rejected at once", DialectCertctl, 200, `{"trackingId":"t","status":"REJECTED"}`, Rejected, 0, ""},
		{"rejected without id", DialectCAGW, 200, `{"enrollment":{"status":"denied"}}`, Rejected, 0, ""},
		{"rejected with an error", DialectCAGW, 200, `{"type":"ErrorResponse","error":{"code":"c","message":"m"},"enrollment":{"status":"FAILED"}}`, Rejected, 0, ""},
		{"no word", DialectCertctl, 202, `{"trackingId":"t"}`, Pending, 0, ""},
		{"numeric id", DialectCertctl, 201, `{"trackingId":42,"status":"PENDING"}`, Pending, 0, ""},
		{"empty error beside", DialectCertctl, 201, `{"trackingId":"t","status":"PENDING","error":""}`, Pending, 0, ""},
		{"empty", DialectCertctl, 200, ``, 0, Unreadable, "other"},
		{"no content", DialectCAGW, 204, ``, 0, Unreadable, "other"},
		{"null", DialectCAGW, 200, `null`, 0, Unreadable, "other"},
		{"cut JSON", DialectCAGW, 200, `{"enrollment":{"id":"t"`, 0, Unreadable, "other"},
		{"JSON and more", DialectCAGW, 200, `{"enrollment":{"id":"t"}} x`, 0, Unreadable, "other"},
		{"array", DialectCertctl, 200, `[]`, 0, Unreadable, "other"},
		{"wrong type", DialectCertctl, 200, `{"trackingId":{},"status":"PENDING"}`, 0, Unreadable, "other"},
		{"nothing in it", DialectCAGW, 200, `{"enrollment":{}}`, 0, Unreadable, "other"},
		{"certificate is garbage", DialectCAGW, 200, `{"enrollment":{"id":"t","body":"aGVsbG8="}}`, 0, Unreadable, "other"},
		{"flat to cagw", DialectCAGW, 200, `{"trackingId":"t"}`, 0, Unreadable, "other"},
		{"licence", DialectCAGW, 403, `{"type":"ErrorResponse","error":{"code":"cagw-4035","message":"The number of licensed certificates is reached"}}`, 0, Refused, "policy"},
		{"licence under 429", DialectCAGW, 429, `{"type":"ErrorResponse","error":{"message":"license limit exceeded"}}`, 0, Refused, "policy"},
		{"licence under 200", DialectCertctl, 200, `{"error":"licence limit exceeded"}`, 0, Refused, "policy"},
		{"licence server down", DialectCAGW, 503, `{"type":"ErrorResponse","error":{"message":"license limit exceeded"}}`, 0, NotAccepted, "upstream_5xx"},
		{"misdirected", DialectCAGW, 421, ``, 0, Unknown, "upstream_4xx"},
		{"request timeout", DialectCAGW, 408, ``, 0, Unknown, "timeout"},
		{"unknown 5xx", DialectCAGW, 599, ``, 0, Unknown, "upstream_5xx"},
		{"no known status", DialectCAGW, 999, ``, 0, Unknown, "other"},
	}
	for _, tt := range tests {
		c := newClient(t, Config{Dialect: tt.dialect}, always(tt.status, tt.body))
		a, err := c.Enroll(t.Context(), Enrollment{CSR: newCSR(t)})
		if a.State != tt.state || FateOf(err) != tt.fate {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, a.State, err, tt.state, tt.fate)
		}
		if e, ok := err.(*Error); ok && (e.Class != tt.class || e.Message == "" || e.HTTPStatus != tt.status) {
			t.Errorf("%s: %+v, want class %q", tt.name, e, tt.class)
		}
	}
}
