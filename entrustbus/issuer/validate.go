package issuer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ValidateConfig checks a configuration, and asks a worker whether requests with it could be done: it refuses a CA that
// the gateway does not list, credentials that the worker cannot load, and a gateway that the worker does not call. It does
// not change the Issuer. Nobody can tell whether the profile exists, since a gateway does not list them to all clients.
// Errors are those of New and of entrustbus.Client.Check.
func (i *Issuer) ValidateConfig(ctx context.Context, config json.RawMessage) error {
	var cfg Config
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(&cfg); err != nil {
		return fmt.Errorf("reading the configuration of the issuer: %w", err)
	}
	other, err := New(i.nc, cfg)
	if err != nil {
		return err
	}
	check, err := other.client.Check(ctx, cfg.CAID)
	switch {
	case err != nil:
		return err
	case !check.CredentialsUsable:
		return fmt.Errorf("worker %s cannot load its key pair for the gateway: its log says why", check.Worker)
	case !check.GatewayReady:
		return fmt.Errorf("worker %s does not call the gateway: %s", check.Worker, check.GatewayProblem)
	}
	return nil
}

// GetCACertPEM is the certificate of the CA and those above it, nearest first. A worker reads them from the gateway, so
// they are there before anything was issued. Errors are those of entrustbus.Client.CA: a gateway of the certctl dialect does
// not give them, entrustbus.ErrNotSupported.
func (i *Issuer) GetCACertPEM(ctx context.Context) (string, error) {
	ca, err := i.client.CA(ctx, i.cfg.CAID)
	if err != nil {
		return "", err
	}
	if ca.CertificatePEM == "" {
		return "", errors.New("the worker answered without a certificate")
	}
	return ca.CertificatePEM + ca.ChainPEM, nil
}

// GetRenewalInfo is nil: the gateway has no such thing.
func (i *Issuer) GetRenewalInfo(context.Context, string) (*RenewalInfoResult, error) { return nil, nil }

// GenerateCRL is ErrUnsupported.
func (i *Issuer) GenerateCRL(context.Context, []RevokedCertEntry) ([]byte, error) {
	return nil, fmt.Errorf("%w: Entrust publishes revocation lists, see the CRL distribution point in a certificate", ErrUnsupported)
}

// SignOCSPResponse is ErrUnsupported.
func (i *Issuer) SignOCSPResponse(context.Context, OCSPSignRequest) ([]byte, error) {
	return nil, fmt.Errorf("%w: Entrust answers OCSP, see the authority information access in a certificate", ErrUnsupported)
}
