package certctl

import (
	"context"

	"github.com/entrust-worker/entrust-worker/entrustbus/issuer"
)

// Adapter is an issuer of certctl that orders over the bus. ValidateConfig and
// GetCACertPEM come from the embedded Issuer.
type Adapter struct{ *issuer.Issuer }

func (a Adapter) IssueCertificate(ctx context.Context, r IssuanceRequest) (*IssuanceResult, error) {
	result, err := a.Issuer.IssueCertificate(ctx, issuer.IssuanceRequest{
		CommonName: r.CommonName, SANs: r.SANs, CSRPEM: r.CSRPEM, EKUs: r.EKUs, MaxTTLSeconds: r.MaxTTLSeconds, MustStaple: r.MustStaple,
	})
	return (*IssuanceResult)(result), err
}

func (a Adapter) RenewCertificate(ctx context.Context, r RenewalRequest) (*IssuanceResult, error) {
	result, err := a.Issuer.RenewCertificate(ctx, issuer.RenewalRequest{
		CommonName: r.CommonName, SANs: r.SANs, CSRPEM: r.CSRPEM, EKUs: r.EKUs, MaxTTLSeconds: r.MaxTTLSeconds, MustStaple: r.MustStaple, OrderID: r.OrderID,
	})
	return (*IssuanceResult)(result), err
}

func (a Adapter) RevokeCertificate(ctx context.Context, r RevocationRequest) error {
	return a.Issuer.RevokeCertificate(ctx, issuer.RevocationRequest(r))
}

func (a Adapter) GetOrderStatus(ctx context.Context, id string) (*OrderStatus, error) {
	status, err := a.Issuer.GetOrderStatus(ctx, id)
	return (*OrderStatus)(status), err
}

func (a Adapter) GetRenewalInfo(ctx context.Context, certPEM string) (*RenewalInfoResult, error) {
	info, err := a.Issuer.GetRenewalInfo(ctx, certPEM)
	return (*RenewalInfoResult)(info), err
}

func (a Adapter) GenerateCRL(ctx context.Context, _ []RevokedCertEntry) ([]byte, error) {
	return a.Issuer.GenerateCRL(ctx, nil)
}

func (a Adapter) SignOCSPResponse(ctx context.Context, r OCSPSignRequest) ([]byte, error) {
	return a.Issuer.SignOCSPResponse(ctx, issuer.OCSPSignRequest(r))
}
