package mtlscache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Config says where the credentials are and how connections are made. Either
// CertFile and KeyFile or PKCS12File is required; every other field has a
// usable zero value.
type Config struct {
	// CertFile and KeyFile are a PEM pair: the client certificate with its
	// intermediates if the gateway needs them, in any order, and its key (PKCS#8,
	// PKCS#1 or SEC 1). The key tells which certificate is the client's; of several
	// pairs the one that expires last counts. Both may name one file.
	CertFile, KeyFile string

	// KeyPasswordFile holds the password of an encrypted KeyFile: PKCS#8 with
	// PBES2 (PBKDF2, AES or 3DES). It holds one line in UTF-8, or in UTF-16 behind a
	// byte-order mark. A key that is not encrypted needs none.
	KeyPasswordFile string

	// PKCS12File holds certificate, key and intermediates in one file, the form
	// in which Entrust hands credentials out: BER or DER, encrypted with PBES2,
	// 3DES or RC2. PKCS12PasswordFile holds its password as KeyPasswordFile does;
	// none means the empty password.
	PKCS12File, PKCS12PasswordFile string

	// ServerCAFile holds the PEM certificates that may vouch for the gateway,
	// instead of the system's. It is watched like the pair. One that Go refuses
	// is left out; see [Cache.Warnings].
	ServerCAFile string

	// Renegotiation lets the gateway ask for the client certificate once more on a
	// connection, after it read a request: as Apache httpd and IIS do where only a
	// path demands it. Neither TLS 1.3 nor HTTP/2 can do that, so connections are
	// TLS 1.2 and HTTP/1.1 then. Leave it off elsewhere, which is the default: a
	// renegotiation ends the call then, before the gateway answers.
	Renegotiation bool

	// MaxConnsPerHost is the most connections open at a time to the gateway,
	// and one more call waits for one of them. 0: no limit. Set it to the sum
	// of the callers' concurrency: less delays calls over HTTP/1.1, more
	// lets a burst open connections that nobody needs.
	MaxConnsPerHost int

	// MaxIdleConns is how many unused connections are kept to the gateway. Below
	// the callers' concurrency it costs HTTP/1.1 a TLS handshake for most
	// calls. Default MaxConnsPerHost, or 64.
	MaxIdleConns int

	// IdleConnTimeout closes a connection unused for so long. Keep it below the
	// idle timeout of the gateway and of what stands before it, or calls meet
	// connections that are being closed, and a POST over HTTP/1.1 an unknown fate.
	// Shorter costs a handshake for calls that far apart. Default 15 s: Tomcat
	// closes after 20, nginx after 75.
	IdleConnTimeout time.Duration

	// DialTimeout and TLSTimeout bound the making of a connection. Defaults
	// 10 s each.
	DialTimeout, TLSTimeout time.Duration

	// ResponseHeaderTimeout bounds the wait for an answer's first byte after the
	// request was written. 0 leaves it to the request's context, which is
	// right where enrollments may take minutes and polls must not.
	ResponseHeaderTimeout time.Duration

	// HalfRotationWait is how long the old pair is used while the new one is
	// incomplete on disk, from the first call that meets it. Longer forgives a
	// slower rotation; shorter tells sooner of one that went wrong. Default 2 s;
	// negative: not at all.
	HalfRotationWait time.Duration

	// DialContext makes the connections, such as over a tunnel or a pipe. nil
	// dials as net.Dialer does. DialTimeout holds for it too.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Log is told of every reload, at level info, or at level warn with the
	// warnings about the new files. nil discards.
	Log *slog.Logger

	http1 bool // HTTP/2 is not offered
}

const (
	defaultIdleConns        = 64
	defaultIdleConnTimeout  = 15 * time.Second
	defaultDialTimeout      = 10 * time.Second
	defaultTLSTimeout       = 10 * time.Second
	defaultHalfRotationWait = 2 * time.Second
)

// withDefaults returns a copy in which every zero value has its meaning.
func (c Config) withDefaults() Config {
	c.MaxIdleConns = cmp.Or(c.MaxIdleConns, c.MaxConnsPerHost, defaultIdleConns)
	c.IdleConnTimeout = cmp.Or(c.IdleConnTimeout, defaultIdleConnTimeout)
	c.DialTimeout = cmp.Or(c.DialTimeout, defaultDialTimeout)
	c.TLSTimeout = cmp.Or(c.TLSTimeout, defaultTLSTimeout)
	c.HalfRotationWait = cmp.Or(c.HalfRotationWait, defaultHalfRotationWait)
	if c.DialContext == nil {
		c.DialContext = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate names every field that is missing, or at odds with another.
func (c Config) validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	switch pair := c.CertFile != "" || c.KeyFile != ""; {
	case pair && c.PKCS12File != "":
		refuse("PKCS12File must not be set beside CertFile or KeyFile: %q and %q, %q", c.PKCS12File, c.CertFile, c.KeyFile)
	case pair && c.CertFile == "":
		refuse("CertFile must be set beside KeyFile %q", c.KeyFile)
	case pair && c.KeyFile == "":
		refuse("KeyFile must be set beside CertFile %q", c.CertFile)
	case !pair && c.PKCS12File == "":
		refuse("CertFile and KeyFile, or PKCS12File, must be set")
	}
	if c.KeyPasswordFile != "" && c.KeyFile == "" {
		refuse("KeyPasswordFile must not be set without KeyFile: %q", c.KeyPasswordFile)
	}
	if c.PKCS12PasswordFile != "" && c.PKCS12File == "" {
		refuse("PKCS12PasswordFile must not be set without PKCS12File: %q", c.PKCS12PasswordFile)
	}
	if c.MaxConnsPerHost < 0 {
		refuse("MaxConnsPerHost must not be negative: %d !>= 0", c.MaxConnsPerHost)
	}
	if c.MaxIdleConns < 0 {
		refuse("MaxIdleConns must not be negative: %d !>= 0", c.MaxIdleConns)
	}
	if c.MaxConnsPerHost > 0 && c.MaxIdleConns > c.MaxConnsPerHost {
		refuse("MaxIdleConns must not exceed MaxConnsPerHost: %d !<= %d", c.MaxIdleConns, c.MaxConnsPerHost)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"IdleConnTimeout", c.IdleConnTimeout},
		{"DialTimeout", c.DialTimeout},
		{"TLSTimeout", c.TLSTimeout},
		{"ResponseHeaderTimeout", c.ResponseHeaderTimeout},
	} {
		if d.value < 0 {
			refuse("%s must not be negative: %v !>= 0s", d.field, d.value)
		}
	}
	if err := checkProxySetting(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
