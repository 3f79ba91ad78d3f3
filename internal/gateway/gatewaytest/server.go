package gatewaytest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a running gateway simulator. Start creates it, Close ends it. All methods are safe
// for concurrent use.
type Server struct {
	cfg     Config
	dir     string
	ownDir  bool // dir is temporary
	pki     *pki
	signer  *signer
	chains  chains
	subject []byte // DER name of the client that the gateway accepts
	store   *store
	rules   rules
	quota   quota
	tally   tally

	http     *http.Server
	listener net.Listener
	pipe     *pipeListener
	admin    *http.Server
	adminURL string

	down     atomic.Bool
	requests atomic.Uint64 // salt of the latency draws

	connsMu sync.Mutex
	conns   map[net.Conn]struct{}

	done      chan struct{}
	closeOnce sync.Once
	closeErr  error
	// Every request holds busy for reading. Close holds it for writing, so it waits for the
	// requests before it closes the journal.
	busy   sync.RWMutex
	closed bool // guarded by busy
}

// Start creates the missing files in Config.Dir, listens and serves. The error is about an
// invalid Config, the folder, the journal or a listener.
func Start(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, dir: cfg.Dir, conns: map[net.Conn]struct{}{}, done: make(chan struct{})}
	s.rules.seed = cfg.Seed
	s.rules.set(cfg.Faults)
	s.quota.limit = cfg.Quota
	if err := s.prepare(time.Now()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.listen(time.Now()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare creates the missing files and opens the store.
func (s *Server) prepare(now time.Time) error {
	var err error
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "gatewaytest-"); err != nil {
			return fmt.Errorf("making folder: %w", err)
		}
		s.ownDir = true
	} else if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	if s.pki, err = loadPKI(s.dir, now.Add(-s.cfg.Age+24*time.Hour)); err != nil {
		return err
	}
	s.chains = s.pki.chains()
	if s.signer, err = newSigner(s.pki); err != nil {
		return err
	}
	if s.subject, err = clientName(); err != nil {
		return err
	}
	if err := s.ensureClient(now); err != nil {
		return err
	}
	var life nonce
	rand.Read(life[:])
	path := ""
	if s.cfg.Persist {
		path = filepath.Join(s.dir, "orders.journal")
	}
	s.store, err = openStore(path, life, s.cfg.RecordPolls)
	return err
}

// listen opens both listeners and serves on them.
func (s *Server) listen(now time.Time) error {
	pair, err := s.pki.serverCertificate(s.cfg, now)
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AddCert(s.pki.transport.cert)
	quiet := log.New(io.Discard, "", 0)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!s.cfg.HTTP1Only)
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve),
		TLSConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			Certificates:       []tls.Certificate{pair},
			ClientAuth:         tls.RequireAndVerifyClientCert,
			ClientCAs:          clients,
			GetConfigForClient: s.hello,
		},
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: s.cfg.MaxStreams},
		ErrorLog:          quiet,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       s.cfg.IdleTimeout,
		ConnState:         s.connState,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	if s.cfg.InMemory {
		s.pipe = newPipeListener()
		s.listener = s.pipe
	} else if s.listener, err = net.Listen("tcp", s.cfg.Addr); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	go s.http.ServeTLS(gate{s.listener, s}, "", "")
	if s.cfg.AdminAddr == "" {
		return nil
	}
	admin, err := net.Listen("tcp", s.cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("listening for control: %w", err)
	}
	s.adminURL = "http://" + admin.Addr().String()
	s.admin = &http.Server{Handler: s.adminHandler(), ErrorLog: quiet, ReadHeaderTimeout: 30 * time.Second}
	go s.admin.Serve(admin)
	return nil
}

// Close ends the server. It cuts connections, ends the latency of waiting requests, and
// removes a temporary folder. Further calls return the error of the first.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		close(s.done)
		var errs []error
		if s.http != nil {
			errs = append(errs, s.http.Close())
		}
		if s.listener != nil {
			s.listener.Close()
		}
		if s.admin != nil {
			errs = append(errs, s.admin.Close())
		}
		s.busy.Lock()
		s.closed = true
		s.busy.Unlock()
		if s.store != nil {
			errs = append(errs, s.store.close())
		}
		if s.ownDir {
			errs = append(errs, os.RemoveAll(s.dir))
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// URL returns the gateway's base URL, with the base path and without /v1.
func (s *Server) URL() string {
	return "https://" + s.Addr() + s.cfg.BasePath
}

// Addr returns the gateway's host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// AdminURL returns the base URL of the control listener; "" if there is none.
func (s *Server) AdminURL() string { return s.adminURL }

// Dir returns the folder of keys, certificates and journal.
func (s *Server) Dir() string { return s.dir }

// CAID returns the id of the first certificate authority.
func (s *Server) CAID() string { return s.cfg.CAIDs[0] }

// Profile returns the id of the first profile.
func (s *Server) Profile() string { return s.cfg.Profiles[0] }

// DialContext opens a connection to the server and ignores the address. The connection is in
// memory if Config.InMemory. It can be an http.Transport.DialContext.
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if s.pipe != nil {
		return s.pipe.dial(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.Addr())
}

// Client returns a client with the current client pair of the gateway, which trusts the
// gateway's CA. It uses HTTP/2 unless Config.HTTP1Only, dials with DialContext and does not
// follow redirects. The caller closes its idle connections.
func (s *Server) Client() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(s.ClientCert(), s.ClientKey())
	if err != nil {
		return nil, fmt.Errorf("reading client pair: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.pki.transport.cert)
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         s.DialContext,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}},
			ForceAttemptHTTP2:   !s.cfg.HTTP1Only,
			MaxIdleConnsPerHost: 256,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// SetDown takes the gateway down or up. Going down resets open connections; while it is down,
// it resets new ones before the handshake. The port stays bound.
func (s *Server) SetDown(down bool) {
	s.down.Store(down)
	if down {
		s.cutConnections()
	}
}

func (s *Server) cutConnections() {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	for c := range s.conns {
		reset(c)
	}
}

// SetFaults replaces all rules.
func (s *Server) SetFaults(faults ...Fault) error {
	for _, f := range faults {
		if err := f.validate(); err != nil {
			return fmt.Errorf("gatewaytest: %w", err)
		}
	}
	s.rules.set(faults)
	return nil
}

// AddFault adds a rule after the others and returns its id.
func (s *Server) AddFault(f Fault) (int, error) {
	if err := f.validate(); err != nil {
		return 0, fmt.Errorf("gatewaytest: %w", err)
	}
	return s.rules.add(f), nil
}

// RemoveFault removes a rule and reports whether it existed.
func (s *Server) RemoveFault(id int) bool { return s.rules.remove(id) }

// Faults returns the rules, with the number of times each has fired.
func (s *Server) Faults() []Fault { return s.rules.all() }
