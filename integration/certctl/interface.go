// Package certctl is the adapter of docs/certctl.md between certctl's issuer interface
// and package issuer of entrustbus. It copies the shape of that interface, so that the
// adapter is compiled and tested here. No other package imports it.
package certctl

import (
	"context"
	"encoding/json"
	"math/big"
	"time"
)

// Connector has the methods that certctl calls on an issuer.
type Connector interface {
	ValidateConfig(ctx context.Context, config json.RawMessage) error
	IssueCertificate(ctx context.Context, request IssuanceRequest) (*IssuanceResult, error)
	RenewCertificate(ctx context.Context, request RenewalRequest) (*IssuanceResult, error)
	RevokeCertificate(ctx context.Context, request RevocationRequest) error
	GetOrderStatus(ctx context.Context, orderID string) (*OrderStatus, error)
	GetCACertPEM(ctx context.Context) (string, error)
	GetRenewalInfo(ctx context.Context, certPEM string) (*RenewalInfoResult, error)
	GenerateCRL(ctx context.Context, revoked []RevokedCertEntry) ([]byte, error)
	SignOCSPResponse(ctx context.Context, request OCSPSignRequest) ([]byte, error)
}

// Types of the interface.
type (
	IssuanceRequest struct {
		CommonName    string
		SANs          []string
		CSRPEM        string
		EKUs          []string
		MaxTTLSeconds int
		MustStaple    bool
	}
	RenewalRequest struct {
		CommonName    string
		SANs          []string
		CSRPEM        string
		EKUs          []string
		OrderID       *string
		MaxTTLSeconds int
		MustStaple    bool
	}
	IssuanceResult struct {
		CertPEM, ChainPEM, Serial string
		NotBefore, NotAfter       time.Time
		OrderID                   string
	}
	RevocationRequest struct {
		Serial string
		Reason *string
	}
	OrderStatus struct {
		OrderID, Status                    string
		Message, CertPEM, ChainPEM, Serial *string
		NotBefore, NotAfter                *time.Time
		UpdatedAt                          time.Time
	}
	RenewalInfoResult struct {
		SuggestedWindowStart, SuggestedWindowEnd, RetryAfter time.Time
		ExplanationURL                                       string
	}
	RevokedCertEntry struct {
		SerialNumber *big.Int
		RevokedAt    time.Time
		ReasonCode   int
	}
	OCSPSignRequest struct {
		CertSerial             *big.Int
		CertStatus             int
		RevokedAt              time.Time
		RevocationReason       int
		ThisUpdate, NextUpdate time.Time
	}
)
