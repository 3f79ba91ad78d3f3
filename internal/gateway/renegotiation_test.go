package gateway

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// helloRequester is the connection below a TLS 1.2 server. It reads the server's random from
// the ServerHello. It can send a HelloRequest (RFC 5246, 7.4.1.1), which asks for a
// renegotiation and which crypto/tls cannot send.
type helloRequester struct {
	net.Conn
	mu     sync.Mutex
	out    bytes.Buffer // the bytes that the server sent, to the end of its ServerHello
	random []byte       // the server's
	seen   chan byte    // the types of the client's records
	client bytes.Buffer
}

func (c *helloRequester) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.random == nil {
		// Record header 5, handshake header 4, version 2, random 32.
		if c.out.Write(p); c.out.Len() >= 43 {
			c.random = bytes.Clone(c.out.Bytes()[11:43])
		}
	}
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *helloRequester) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.client.Write(p[:n])
	for c.client.Len() >= 5 {
		head := c.client.Bytes()
		size := 5 + int(binary.BigEndian.Uint16(head[3:]))
		if c.client.Len() < size {
			break
		}
		select {
		case c.seen <- head[0]:
		default:
		}
		c.client.Next(size)
	}
	return n, err
}

// request sends a HelloRequest as the second record under the server's key, which is the
// first after its Finished. keyLog is a line of tls.Config.KeyLogWriter.
func (c *helloRequester) request(t *testing.T, keyLog string) {
	fields := strings.Fields(keyLog) // CLIENT_RANDOM random master
	clientRandom, err1 := hex.DecodeString(fields[1])
	master, err2 := hex.DecodeString(fields[2])
	if err1 != nil || err2 != nil {
		t.Error(err1, err2)
		return
	}
	// AES_128_GCM (RFC 5288): two keys of 16 bytes, two salts of 4.
	block := prf(master, append([]byte("key expansion"), append(bytes.Clone(c.random), clientRandom...)...), 40)
	key, salt := block[16:32], block[36:40]
	const sequence = 1
	explicit := binary.BigEndian.AppendUint64(nil, sequence)
	plain := []byte{0, 0, 0, 0} // hello_request, no content
	aad := append(bytes.Clone(explicit), 22, 3, 3, 0, byte(len(plain)))
	b, err := aes.NewCipher(key)
	if err != nil {
		t.Error(err)
		return
	}
	gcm, err := cipher.NewGCM(b)
	if err != nil {
		t.Error(err)
		return
	}
	sealed := gcm.Seal(explicit, append(bytes.Clone(salt), explicit...), plain, aad)
	record := binary.BigEndian.AppendUint16([]byte{22, 3, 3}, uint16(len(sealed)))
	if _, err := c.Conn.Write(append(record, sealed...)); err != nil {
		t.Error(err)
	}
}

// prf is P_SHA256 (RFC 5246, 5).
func prf(secret, seed []byte, n int) []byte {
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	var out []byte
	for a := mac(seed); len(out) < n; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:n]
}

// renegotiating starts a server that asks for a renegotiation after each request. It reports the
// type of the record with which the client answers.
func renegotiating(t *testing.T) (string, *http.Transport, <-chan byte) {
	answered := make(chan byte, 10)
	// Each connection writes its own key log, before its handshake ends.
	var mu sync.Mutex
	var log bytes.Buffer
	cfg := &tls.Config{
		MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		SessionTicketsDisabled: true, KeyLogWriter: lockedWriter{&mu, &log}, NextProtos: []string{"http/1.1"},
	}
	url, tr := rawServerOver(t, cfg, func(conn net.Conn) net.Conn {
		return &helloRequester{Conn: conn, seen: make(chan byte, 100)}
	}, func(tc *tls.Conn) {
		wire := tc.NetConn().(*helloRequester)
		mu.Lock()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		mu.Unlock()
		serveHTTP1(func(io.Writer, *http.Request) bool {
			for len(wire.seen) > 0 {
				<-wire.seen
			}
			wire.request(t, lines[len(lines)-1])
			go func() { _, _ = io.Copy(io.Discard, tc) }()
			select {
			case kind := <-wire.seen:
				answered <- kind
			case <-time.After(10 * time.Second):
				t.Error("the client does not answer a HelloRequest")
			}
			return false
		})(tc)
	})
	return url, tr, answered
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TestRenegotiation has a server ask for a renegotiation after the whole enrollment came. If the
// client refuses it, the enrollment is NotAccepted, and the error and ProbeEnroll name the cause.
// If the client allows it, it begins a handshake.
func TestRenegotiation(t *testing.T) {
	t.Parallel()
	const alert, handshake = 21, 22
	url, tr, answered := renegotiating(t)
	c, err := New(Config{URL: url, CAID: "ca-1", Dialect: DialectCertctl}, &http.Client{Transport: tr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Enroll(t.Context(), Enrollment{CSR: newCSR(t)})
	e, _ := errors.AsType[*Error](err)
	if FateOf(err) != NotAccepted || e.Class != classAuth || !strings.Contains(err.Error(), "gateway.renegotiation") {
		t.Errorf("got %v, want NotAccepted that names the setting", err)
	}
	if got := <-answered; got != alert {
		t.Errorf("the client answers with a record of type %d, want an alert", got)
	}
	if err := c.ProbeEnroll(t.Context()); FateOf(err) != NotAccepted || !strings.Contains(err.Error(), "renegotiation") {
		t.Errorf("ProbeEnroll: %v, want one that names the renegotiation", err)
	}
	<-answered

	tr.CloseIdleConnections()
	allowed := tr.Clone()
	allowed.TLSClientConfig.Renegotiation = tls.RenegotiateOnceAsClient
	if c, err = New(Config{URL: url, CAID: "ca-1", Dialect: DialectCertctl}, &http.Client{Transport: allowed}, nil); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Enroll(t.Context(), Enrollment{CSR: newCSR(t)}) // this server cannot end the handshake
	if got := <-answered; got != handshake {
		t.Errorf("the client answers with a record of type %d, want a handshake", got)
	}
}

func TestSignalOfPostHandshakeAuthentication(t *testing.T) {
	t.Parallel()
	// The text of crypto/tls for a CertificateRequest after the handshake.
	err := errors.New("tls: received unexpected handshake message of type *tls.certificateRequestMsgTLS13")
	if got := signalOf(err, true); got != signalPostHandshake {
		t.Errorf("over HTTP/1.1: %q", got)
	}
	if got := signalOf(err, false); got != signalNone {
		t.Errorf("over HTTP/2: %q, where other requests are under way", got)
	}
}
