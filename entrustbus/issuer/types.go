package issuer

import (
	"math/big"
	"time"
)

// The types of certctl's issuer interface, by the same names and with the same fields.

// IssuanceRequest is what a new certificate is asked for with.
type IssuanceRequest struct {
	// CommonName, if given, must be that of the certificate request; SANs, if given, replace its names.
	CommonName string   `json:"common_name"`
	SANs       []string `json:"sans"`
	// CSRPEM is the certificate request.
	CSRPEM string `json:"csr_pem"`
	// EKUs are extended key usages by name, such as serverAuth, or object identifiers.
	EKUs []string `json:"ekus,omitempty"`
	// MaxTTLSeconds caps the validity. 0: no cap.
	MaxTTLSeconds int `json:"max_ttl_seconds,omitempty"`
	// MustStaple asks for the TLS feature status_request.
	MustStaple bool `json:"must_staple,omitempty"`
}

// RenewalRequest is what another certificate of the same names is asked for with.
type RenewalRequest struct {
	CommonName    string   `json:"common_name"`
	SANs          []string `json:"sans"`
	CSRPEM        string   `json:"csr_pem"`
	EKUs          []string `json:"ekus,omitempty"`
	MaxTTLSeconds int      `json:"max_ttl_seconds,omitempty"`
	MustStaple    bool     `json:"must_staple,omitempty"`
	// OrderID, if given, is the IssuanceResult.OrderID of the certificate to renew. It is renewed once.
	OrderID *string `json:"order_id,omitempty"`
}

// IssuanceResult is an issued certificate. It always has one.
type IssuanceResult struct {
	CertPEM string `json:"cert_pem"`
	// ChainPEM holds the certificates above it, nearest first, possibly none.
	ChainPEM string `json:"chain_pem"`
	// Serial is in decimal, as certctl's own Entrust connector has it.
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// OrderID is the id of the request on the bus.
	OrderID string `json:"order_id"`
}

// RevocationRequest names a certificate to revoke.
type RevocationRequest struct {
	// Serial is in decimal where it has digits alone, as in IssuanceResult; else hexadecimal, as tools print it.
	Serial string `json:"serial"`
	// Reason is one of RFC 5280's, in any form that entrustbus.NormalReason knows. Nil: none.
	Reason *string `json:"reason,omitempty"`
}

// Values of OrderStatus.Status.
const (
	StatusPending   = "pending"
	StatusCompleted = "completed"
	StatusFailed    = "failed"
)

// OrderStatus is the state of an order. A nil field is unknown or does not apply.
type OrderStatus struct {
	OrderID   string     `json:"order_id"`
	Status    string     `json:"status"`
	Message   *string    `json:"message,omitempty"`
	CertPEM   *string    `json:"cert_pem,omitempty"`
	ChainPEM  *string    `json:"chain_pem,omitempty"`
	Serial    *string    `json:"serial,omitempty"`
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
	UpdatedAt time.Time  `json:"updated_at"`
}

// RevokedCertEntry is an entry of a revocation list.
type RevokedCertEntry struct {
	SerialNumber *big.Int
	RevokedAt    time.Time
	ReasonCode   int
}

// OCSPSignRequest is what an OCSP response would say.
type OCSPSignRequest struct {
	CertSerial       *big.Int
	CertStatus       int
	RevokedAt        time.Time
	RevocationReason int
	ThisUpdate       time.Time
	NextUpdate       time.Time
}

// RenewalInfoResult is ACME renewal information.
type RenewalInfoResult struct {
	SuggestedWindowStart time.Time
	SuggestedWindowEnd   time.Time
	RetryAfter           time.Time
	ExplanationURL       string
}
