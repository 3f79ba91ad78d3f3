package gateway

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// maxAhead is how far in the future the validity of a certificate may begin. It tolerates
// clocks that differ, and refuses postdated certificates.
const maxAhead = 24 * time.Hour

// Expectation is what CheckIssued compares an issued certificate with.
type Expectation struct {
	// PublicKey is the key of the CSR. SPKI is the same key as DER
	// (RawSubjectPublicKeyInfo). One of them is required unless AnyKey is set.
	PublicKey crypto.PublicKey
	SPKI      []byte
	// AnyKey leaves the key unchecked, for an order whose CSR is unknown.
	AnyKey bool
	// SANs are the names that the certificate must cover; it may hold more.
	SANs []SAN
	// CommonName counts only if SANs is empty: the subject must have it, without regard to
	// case, or a name must cover it. Empty: any subject.
	CommonName string
	// MaxValidity is the longest allowed validity; 0: no cap. A tenth more, but a day at
	// most, is allowed: CAs backdate, and round up.
	MaxValidity time.Duration
	// From is when the requested validity begins; zero: at Now. The certificate may begin up
	// to a day after the later of From and Now.
	From time.Time
	// Now is the time of the check; zero: the time of the call.
	Now time.Time
}

// MismatchError means that the issued certificate is not the requested one, or cannot be
// used. It is safe to log. It has the serial, so that an operator can revoke the certificate.
type MismatchError struct {
	// Serial is the certificate's serial number in lower-case hexadecimal; empty if
	// the certificate cannot be read.
	Serial string
	// Problem is one short sentence.
	Problem string
}

// Error returns the problem and the serial.
func (e *MismatchError) Error() string {
	if e.Serial == "" {
		return "issued certificate: " + e.Problem
	}
	return fmt.Sprintf("issued certificate %s: %s", e.Serial, e.Problem)
}

// CheckIssued checks that the certificate of an Issued answer is the requested one and can
// be used: it holds the CSR's public key, covers the names, and is valid now or within a
// day. It does not check the chain. The error is a *MismatchError.
func CheckIssued(a Answer, want Expectation) (*x509.Certificate, error) {
	leaf := a.leaf
	if leaf == nil || !bytes.Equal(leaf.Raw, a.Certificate) {
		var err error
		if leaf, err = parseCertificate(a.Certificate); err != nil {
			return nil, &MismatchError{Problem: "cannot be parsed"}
		}
	}
	now := want.Now
	if now.IsZero() {
		now = time.Now()
	}
	problem := wrongKey(leaf, want)
	if problem == "" {
		problem = wrongNames(leaf, want)
	}
	if problem == "" {
		problem = wrongValidity(leaf, now, want.From)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); problem == "" && want.MaxValidity > 0 && longerThan(life, want.MaxValidity) {
		problem = fmt.Sprintf("it is valid for %s, and the cap is %s", life, want.MaxValidity)
	}
	if problem != "" {
		return nil, &MismatchError{Serial: hexSerial(leaf.SerialNumber, 0), Problem: problem}
	}
	return leaf, nil
}

func wrongKey(leaf *x509.Certificate, want Expectation) string {
	switch {
	case want.AnyKey:
		return ""
	case len(want.SPKI) == 0 && want.PublicKey == nil:
		return "there is no public key to compare it with"
	case len(want.SPKI) > 0 && bytes.Equal(want.SPKI, leaf.RawSubjectPublicKeyInfo):
		return ""
	case sameKey(leaf.PublicKey, want.PublicKey):
		return ""
	}
	// The same key has two encodings: with and without null parameters.
	if key, err := x509.ParsePKIXPublicKey(want.SPKI); err == nil && sameKey(leaf.PublicKey, key) {
		return ""
	}
	return "the public key is not the one in the CSR"
}

func sameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && key.Equal(b)
}

func wrongNames(leaf *x509.Certificate, want Expectation) string {
	have, err := san.Read(leaf.Extensions)
	if err != nil {
		return err.Error()
	}
	if missing, any := san.Uncovered(want.SANs, have); any {
		return clean(fmt.Sprintf("the requested %s %q is not in it", missing.Type, missing.Value))
	}
	cn := want.CommonName
	if len(want.SANs) > 0 || cn == "" || strings.EqualFold(leaf.Subject.CommonName, cn) {
		return ""
	}
	for _, kind := range []san.Type{SANDNS, SANIP, SANEmail} {
		if _, missing := san.Uncovered([]SAN{{Type: kind, Value: cn}}, have); !missing {
			return ""
		}
	}
	return clean(fmt.Sprintf("the requested common name %q is not in it", cn))
}

// wrongValidity returns what is wrong with the period of validity; "" for nothing. from is
// the requested begin; zero: now.
func wrongValidity(cert *x509.Certificate, now, from time.Time) string {
	latest := now.Add(maxAhead)
	if asked := from.Add(maxAhead); asked.After(latest) {
		latest = asked
	}
	day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case !cert.NotAfter.After(cert.NotBefore):
		return "it ends before it begins"
	case !cert.NotAfter.After(now):
		return "it ended at " + day(cert.NotAfter)
	case cert.NotBefore.After(latest):
		return "it only begins at " + day(cert.NotBefore)
	}
	return ""
}
