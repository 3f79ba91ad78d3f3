package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawServer starts a TLS server and passes each connection to serve. It returns the URL, and a
// transport that trusts the server.
func rawServer(t *testing.T, cfg *tls.Config, serve func(*tls.Conn)) (url string, tr *http.Transport) {
	t.Helper()
	return rawServerOver(t, cfg, func(conn net.Conn) net.Conn { return conn }, serve)
}

// rawServerOver is rawServer over connections that below wraps.
func rawServerOver(t *testing.T, cfg *tls.Config, below func(net.Conn) net.Conn, serve func(*tls.Conn)) (url string, tr *http.Transport) {
	t.Helper()
	// It provides the certificate, and a client that trusts it.
	borrowed := httptest.NewUnstartedServer(nil)
	borrowed.StartTLS()
	t.Cleanup(borrowed.Close)
	cfg = cfg.Clone()
	cfg.Certificates = borrowed.TLS.Certificates
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				tc := tls.Server(below(conn), cfg)
				if tc.Handshake() == nil {
					serve(tc)
				}
			}()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	tr = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DialContext: HearAlerts(nil)}
	t.Cleanup(tr.CloseIdleConnections)
	return "https://" + l.Addr().String(), tr
}

// h2Conn is the server's side of an HTTP/2 connection, frame by frame.
type h2Conn struct {
	*http2.Framer
	conn net.Conn
}

// serveH2 calls request for each complete request, until request returns false.
func serveH2(t *testing.T, request func(c h2Conn, stream uint32) bool) func(*tls.Conn) {
	return func(tc *tls.Conn) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(tc, preface); err != nil {
			return
		}
		c := h2Conn{http2.NewFramer(tc, tc), tc}
		_ = c.WriteSettings()
		for {
			f, err := c.ReadFrame()
			if err != nil {
				return
			}
			ended := false
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = c.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !f.IsAck() {
					_ = c.WritePing(true, f.Data)
				}
			case *http2.HeadersFrame:
				ended = f.StreamEnded()
			case *http2.DataFrame:
				ended = f.StreamEnded()
			}
			if ended && !request(c, f.Header().StreamID) {
				// Read on, so that no TCP reset discards the written bytes.
				_, _ = io.Copy(io.Discard, tc)
				return
			}
		}
	}
}

// answer writes a status with a JSON body.
func (c h2Conn) answer(stream uint32, status, body string) {
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	_ = enc.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	_ = c.WriteData(stream, true, []byte(body))
}

// serveHTTP1 calls answer for each request, until answer returns false.
func serveHTTP1(answer func(w io.Writer, r *http.Request) bool) func(*tls.Conn) {
	return func(tc *tls.Conn) {
		for in := bufio.NewReader(tc); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err = io.Copy(io.Discard, r.Body); err != nil || !answer(tc, r) {
				return
			}
		}
	}
}

// ok writes a 200 with header lines and a JSON body.
func ok(w io.Writer, body, header string) {
	fmt.Fprintf(w, "HTTP/1.1 200 OK\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", header, len(body), body)
}
