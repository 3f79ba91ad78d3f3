package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// options are the options for what is configured.
func options(s *config.Settings) ([]nats.Option, error) {
	n := s.NATS
	opts := []nats.Option{nats.Timeout(n.Timeout)}
	// With a context, the configured URL counts only if it was set.
	if n.Context != "" && !s.IsDefault("nats.url") {
		opts = append(opts, func(o *nats.Options) error {
			o.Url, o.Servers = "", servers(s)
			return nil
		})
	}
	login, err := credentials(s)
	if err != nil {
		return nil, err
	}
	opts = append(opts, login...)
	if n.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(n.TLSCert, n.TLSKey.Reveal()); err != nil {
			return nil, unreadable(s, "nats.tls_cert", "and nats.tls_key cannot be read: "+config.FileProblem(err))
		}
		opts = append(opts, nats.ClientCert(n.TLSCert, n.TLSKey.Reveal()))
	}
	if n.TLSCA != "" {
		text, err := os.ReadFile(n.TLSCA)
		if err != nil {
			return nil, unreadable(s, "nats.tls_ca", "names a file that cannot be read: "+config.FileProblem(err))
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return nil, unreadable(s, "nats.tls_ca", "names a file without a certificate in PEM")
		}
		opts = append(opts, nats.RootCAs(n.TLSCA))
	}
	if n.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(n.InboxPrefix))
	}
	return opts, nil
}

// unreadable is a mistake in a key that names a file.
func unreadable(s *config.Settings, key, problem string) error {
	return usage.WithHint(usage.Wrap(&config.FieldError{Key: key, Problem: problem, From: []string{s.Origin(key)}}), "%s comes from %s; entrust-worker check tries it", key, s.Origin(key))
}

// credentials are the options for the credentials that count. They replace a context's,
// of whatever kind those are.
func credentials(s *config.Settings) ([]nats.Option, error) {
	n := s.NATS
	var own nats.Option
	switch s.Credentials {
	case "":
		return nil, nil
	case "nats.creds":
		f := credsFile(n.Creds.Reveal())
		if _, err := f.jwt(); err != nil {
			return nil, unreadable(s, "nats.creds", "names a file that cannot be used: "+err.Error())
		}
		if _, err := f.sign(nil); err != nil {
			return nil, unreadable(s, "nats.creds", "names a file that cannot be used: "+err.Error())
		}
		own = nats.UserJWT(f.jwt, f.sign)
	case "nats.nkey":
		f := nkeyFile(n.NKey.Reveal())
		public, err := f.public()
		if err != nil {
			return nil, unreadable(s, "nats.nkey", "names a file that cannot be used: "+err.Error())
		}
		own = nats.Nkey(public, f.sign)
	case "nats.token":
		own = nats.Token(n.Token.Reveal())
	case "nats.user":
		if own = nats.UserInfo(n.User.Reveal(), n.Password.Reveal()); n.Password == "" {
			own = nats.Token(n.User.Reveal()) // as the nats command has it
		}
	case "nats.url":
		own = func(*nats.Options) error { return nil } // by the URL itself
	}
	forget := func(o *nats.Options) error {
		o.User, o.Password, o.Token, o.TokenHandler = "", "", "", nil
		o.Nkey, o.UserJWT, o.SignatureCB = "", nil, nil
		if s.Credentials != "nats.url" { // a user in a URL would count more
			for i, u := range o.Servers {
				o.Servers[i] = withoutUser(u)
			}
		}
		return nil
	}
	return []nats.Option{forget, own}, nil
}

// credsFile is the path of a credentials file. It is read on every connect, so that
// an operator can replace it. Errors hold neither its path nor its content: the one may
// be the other.
type credsFile string

func (f credsFile) jwt() (string, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return "", errors.New(config.FileProblem(err))
	}
	jwt, err := nkeys.ParseDecoratedJWT(text)
	if err != nil {
		return "", errors.New("it holds no user JWT")
	}
	return jwt, nil
}

func (f credsFile) sign(nonce []byte) ([]byte, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return nil, errors.New(config.FileProblem(err))
	}
	pair, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return nil, errors.New("it holds no user seed")
	}
	defer pair.Wipe()
	return pair.Sign(nonce)
}

// nkeyFile is the path of a file with an nkey seed, as credsFile is of its.
type nkeyFile string

func (f nkeyFile) pair() (nkeys.KeyPair, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return nil, errors.New(config.FileProblem(err))
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, errors.New("it holds no nkey seed")
	}
	return pair, nil
}

func (f nkeyFile) public() (string, error) {
	pair, err := f.pair()
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

func (f nkeyFile) sign(nonce []byte) ([]byte, error) {
	pair, err := f.pair()
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	return pair.Sign(nonce)
}
