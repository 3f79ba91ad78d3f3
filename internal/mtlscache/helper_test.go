package mtlscache_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// patience bounds every wait for another goroutine. Only a failing test reaches it.
const patience = 60 * time.Second

// eventually polls until holds returns true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// A pair is a certificate and its key in all forms.
type pair struct {
	certPEM, keyPEM []byte
	leaf            *x509.Certificate
	key             crypto.Signer
}

func (p pair) serial() string { return p.leaf.SerialNumber.String() }

// An authority signs certificates for clients and servers.
type authority struct {
	pair
	next atomic.Int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca := &authority{}
	ca.pair = ca.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return ca
}

// sign completes a template and signs it. The first certificate is self-signed.
func (ca *authority) sign(t testing.TB, template *x509.Certificate) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := ca.next.Add(1)
	template.SerialNumber = big.NewInt(1000 + n)
	template.Subject = pkix.Name{CommonName: "test " + template.SerialNumber.String()}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	template.NotBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's clock starts in 2000
	parent, signer := template, crypto.Signer(key)
	if ca.leaf != nil {
		parent, signer = ca.leaf, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		certPEM: slices.Clip(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), // tests append to certPEM and keyPEM
		keyPEM:  slices.Clip(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
		leaf:    leaf,
		key:     key,
	}
}

// client issues a client certificate.
func (ca *authority) client(t testing.TB) pair {
	return ca.sign(t, &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// A gateway is an HTTPS server that requires a client certificate and answers with
// its serial number. It counts connections.
type gateway struct {
	url   string
	made  atomic.Int64 // connections accepted
	open  atomic.Int64 // of those, not closed yet
	inner http.Handler // runs before the answer; nil: none
}

// newGateway starts a gateway on loopback.
func newGateway(t testing.TB, ca *authority, http2 bool, inner http.Handler) *gateway {
	t.Helper()
	g := &gateway{inner: inner}
	srv := httptest.NewUnstartedServer(g)
	srv.EnableHTTP2 = http2
	srv.TLS = ca.serverTLS(t)
	g.count(srv.Config)
	srv.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	g.url = srv.URL
	return g
}

// serverTLS returns a configuration that trusts the clients of ca, with a server
// certificate of ca.
func (ca *authority) serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	server := ca.sign(t, &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	pool := x509.NewCertPool()
	pool.AddCert(ca.leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.leaf.Raw}, PrivateKey: server.key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}
}

func (g *gateway) count(srv *http.Server) {
	srv.ErrorLog = log.New(io.Discard, "", 0) // tests break handshakes on purpose
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			g.made.Add(1)
			g.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			g.open.Add(-1)
		}
	}
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.inner != nil {
		g.inner.ServeHTTP(w, r)
	}
	io.WriteString(w, r.TLS.PeerCertificates[0].SerialNumber.String())
}

// A rig is a gateway, and a cache on files of a new directory.
type rig struct {
	dir       string
	cert, key string // paths
	ca        *authority
	first     pair
	gateway   *gateway
	cache     *mtlscache.Cache
	client    *http.Client
}

func setup(t testing.TB, http2 bool, inner http.Handler, change func(*mtlscache.Config)) *rig {
	t.Helper()
	ca := newAuthority(t)
	r := &rig{dir: t.TempDir(), ca: ca, first: ca.client(t), gateway: newGateway(t, ca, http2, inner)}
	r.cert, r.key = r.path("client.pem"), r.path("client.key")
	r.write(t, r.cert, r.first.certPEM)
	r.write(t, r.key, r.first.keyPEM)
	r.write(t, r.path("ca.pem"), ca.certPEM)
	cfg := mtlscache.Config{CertFile: r.cert, KeyFile: r.key, ServerCAFile: r.path("ca.pem")}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.cache, err = mtlscache.New(cfg); err != nil {
		t.Fatal(err)
	}
	r.client = &http.Client{Transport: r.cache, Timeout: patience}
	t.Cleanup(r.cache.Close)
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// write writes a file in place.
func (r *rig) write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace renames a new file over path.
func (r *rig) replace(t testing.TB, path string, content []byte, mtime time.Time) {
	t.Helper()
	r.write(t, path+".new", content)
	if !mtime.IsZero() {
		if err := os.Chtimes(path+".new", mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// call makes a call and returns the serial number of the client certificate that the
// gateway saw.
func (r *rig) call(ctx context.Context) (string, error) { return r.get(ctx, "/") }

func (r *rig) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.gateway.url+path, nil)
	if err != nil {
		return "", err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// mustCall makes one call and fails the test if the gateway did not see p.
func (r *rig) mustCall(t testing.TB, p pair) {
	t.Helper()
	if got, err := r.call(t.Context()); err != nil || got != p.serial() {
		t.Fatalf("call showed certificate %q, %v; want %q", got, err, p.serial())
	}
}

// storm makes calls from many goroutines until stop is called. stop returns the
// number of calls, and the errors of the failed ones.
func (r *rig) storm(t testing.TB, callers int) (calls *atomic.Int64, stop func() []error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	calls = new(atomic.Int64)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := r.call(context.Background()) // not cancelled by the test: a cancelled call would count as failed
				calls.Add(1)
				if err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	return calls, func() []error {
		cancel()
		wg.Wait()
		return errs
	}
}
