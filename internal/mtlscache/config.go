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

// Config says where the credentials are and how connections are made. CertFile
// and KeyFile are required, or PKCS12File instead. Every other field has a usable
// zero value.
type Config struct {
	// CertFile and KeyFile are a PEM pair. CertFile holds the client certificate,
	// and its intermediates if the gateway needs them, in any order. KeyFile holds
	// the key (PKCS#8, PKCS#1 or SEC 1). The certificate that matches the key is the
	// client certificate; of several pairs the cache uses the last to expire. Both
	// may name one file.
	CertFile, KeyFile string

	// KeyPasswordFile holds the password of an encrypted KeyFile: PKCS#8 with
	// PBES2 (PBKDF2, AES or 3DES). It holds one line in UTF-8, or in UTF-16 with a
	// byte-order mark. Empty: the key is not encrypted.
	KeyPasswordFile string

	// PKCS12File holds certificate, key and intermediates in one file, as Entrust
	// issues credentials. It is BER or DER, encrypted with PBES2, 3DES or RC2.
	// PKCS12PasswordFile holds its password in the form of KeyPasswordFile. Empty:
	// the empty password.
	PKCS12File, PKCS12PasswordFile string

	// ServerCAFile holds the PEM certificates of the CAs that the client trusts for
	// the gateway. Empty: the system's. The cache watches it like the pair. It
	// leaves out a certificate that Go refuses; see [Cache.Warnings].
	ServerCAFile string

	// Renegotiation lets the gateway ask for the client certificate again on a
	// connection after it read a request, once: Apache httpd and IIS do that if one
	// path alone requires the certificate. TLS 1.3 and HTTP/2 do not allow it, so
	// all connections are then TLS 1.2 and HTTP/1.1. Off, the default, a
	// renegotiation ends the call before the gateway answers.
	Renegotiation bool

	// MaxConnsPerHost is the largest number of open connections to the gateway;
	// further calls wait for one. 0: no limit. Set it to the sum of the callers'
	// concurrency. A lower limit delays calls over HTTP/1.1. A higher limit lets a
	// burst open unneeded connections.
	MaxConnsPerHost int

	// MaxIdleConns is the largest number of idle connections to the gateway. Below
	// the callers' concurrency, most calls over HTTP/1.1 cost a TLS handshake.
	// Default MaxConnsPerHost, or 64.
	MaxIdleConns int

	// IdleConnTimeout is how long an idle connection stays open. Keep it below the
	// idle timeout of the gateway and of every proxy before it. A longer timeout
	// lets calls use connections that the other side is closing: a POST over
	// HTTP/1.1 is then indeterminate. A shorter one costs more handshakes. Default
	// 15 s: Tomcat closes after 20, nginx after 75.
	IdleConnTimeout time.Duration

	// DialTimeout bounds making a TCP connection, TLSTimeout its TLS handshake.
	// Default 10 s each.
	DialTimeout, TLSTimeout time.Duration

	// ResponseHeaderTimeout bounds the wait for the first byte of an answer after
	// the request was written. 0: only the request's context bounds it. That suits
	// callers whose enrollments may take minutes and whose polls must not.
	ResponseHeaderTimeout time.Duration

	// HalfRotationWait is how long calls use the old pair while the new one is
	// incomplete on disk, counted from the first call that sees it. A longer wait
	// tolerates a slower rotation; a shorter one reports a failed rotation sooner.
	// Default 2 s; negative: no wait.
	HalfRotationWait time.Duration

	// DialContext makes the connections, such as over a tunnel or a pipe. nil: a
	// net.Dialer does. DialTimeout bounds it too.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Log gets one line for each reload, at level info, or at level warn with the
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

// withDefaults returns a copy in which every zero value is replaced by its default.
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

// validate names every field that is missing, out of range, or in conflict with another.
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
