package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// IssueCertificate has a certificate issued, or returns the one that an earlier call for the same order got. Errors: a
// *entrustbus.FieldError for a request that the contract forbids, ErrPending, ErrOtherKey, an *OutcomeError, what
// entrustbus.Client.Submit returns, and the context's cause.
func (i *Issuer) IssueCertificate(ctx context.Context, request IssuanceRequest) (*IssuanceResult, error) {
	return i.issue(ctx, sortIssue, nil, &entrustbus.Issue{
		CommonName: request.CommonName, SANs: request.SANs, CSRPEM: request.CSRPEM, EKUs: request.EKUs,
		MaxValiditySeconds: int64(request.MaxTTLSeconds), MustStaple: request.MustStaple,
	})
}

// RenewCertificate is IssueCertificate under an id of its own, so that a renewal shortly after the first issuance is
// another order.
func (i *Issuer) RenewCertificate(ctx context.Context, request RenewalRequest) (*IssuanceResult, error) {
	return i.issue(ctx, sortRenew, request.OrderID, &entrustbus.Issue{
		CommonName: request.CommonName, SANs: request.SANs, CSRPEM: request.CSRPEM, EKUs: request.EKUs,
		MaxValiditySeconds: int64(request.MaxTTLSeconds), MustStaple: request.MustStaple,
	})
}

func (i *Issuer) issue(ctx context.Context, s sort, renewed *string, r *entrustbus.Issue) (*IssuanceResult, error) {
	r.CAID, r.ProfileID, r.PollMaxWaitSeconds = i.cfg.CAID, i.cfg.ProfileID, i.cfg.PollMaxWaitSeconds
	r.ID = string(s) // any id that is valid: what is wrong with the rest shows before the bus is asked
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := withoutIdleSANs(r); err != nil {
		return nil, err
	}
	exists, err := i.identify(ctx, s, r, renewed)
	if err != nil {
		return nil, err
	}
	if !exists {
		// Another program may have submitted it since: then that order is the one to wait for.
		if _, err := i.client.Submit(ctx, r); err != nil && !errors.Is(err, entrustbus.ErrOtherContent) {
			return nil, err
		}
	}
	result, err := i.wait(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if result.Outcome != entrustbus.OutcomeIssued {
		return nil, ended(result)
	}
	csr, err := r.CertificateRequest()
	if err != nil {
		return nil, err
	}
	switch same, err := sameKey(result.CertificatePEM, csr); {
	case err != nil:
		return nil, fmt.Errorf("order %s: reading its certificate: %w", r.ID, err)
	case !same:
		return nil, fmt.Errorf("order %s: %w: serial %s", r.ID, ErrOtherKey, result.SerialDecimal)
	}
	return &IssuanceResult{
		CertPEM: result.CertificatePEM, ChainPEM: result.ChainPEM, Serial: result.SerialDecimal,
		NotBefore: result.NotBefore, NotAfter: result.NotAfter, OrderID: result.ID,
	}, nil
}

// sameKey reports whether a certificate is for the key of a certificate request.
func sameKey(certificatePEM string, csr *x509.CertificateRequest) (bool, error) {
	block, _ := pem.Decode([]byte(certificatePEM))
	if block == nil {
		return false, errors.New("the result has none")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false, err
	}
	return bytes.Equal(cert.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo), nil
}
