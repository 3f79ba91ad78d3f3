package consumer

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// describe fills in what a result tells of a certificate.
func describe(r *entrustbus.Result, cert *x509.Certificate, chain [][]byte) {
	r.CertificatePEM = armour(cert.Raw)
	r.ChainPEM = armour(chain...)
	r.Serial, r.SerialDecimal = fmt.Sprintf("%x", cert.SerialNumber), cert.SerialNumber.String()
	r.NotBefore, r.NotAfter = cert.NotBefore.UTC(), cert.NotAfter.UTC()
}

// armour writes DER certificates as PEM, one after the other.
func armour(certificates ...[]byte) string {
	var b bytes.Buffer
	for _, der := range certificates {
		// Writing to a bytes.Buffer does not fail.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.String()
}

// resultError tells a producer what the gateway answered: its status, its code
// and a bounded message, never its details.
func resultError(e *gateway.Error) *entrustbus.ResultError {
	return &entrustbus.ResultError{Class: entrustbus.Class(e.Class), Code: e.Code, Message: e.Message, HTTPStatus: e.HTTPStatus}
}

// errorOf tells a producer how a call to the gateway ended.
func errorOf(err error) *entrustbus.ResultError {
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return resultError(e)
	}
	return &entrustbus.ResultError{Class: entrustbus.ClassOther, Message: err.Error()}
}
