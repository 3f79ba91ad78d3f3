package gatewaytest

import (
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// parseSerial reads a serial of a path: decimal in the CertCtl dialect, hex of
// either case and with any padding in CAGW. It returns the bytes without
// leading zeros.
func parseSerial(text string, flat bool) ([]byte, bool) {
	if len(text) > 100 || text == "" {
		return nil, false
	}
	base := 16
	if flat {
		base = 10
	}
	n, ok := new(big.Int).SetString(text, base)
	if !ok || n.Sign() < 0 || strings.ContainsAny(text, "+-_") {
		return nil, false
	}
	return n.Bytes(), true
}

// certificate finds the order of the certificate that a path names. An order with number
// 0 stands for an unknown serial.
func (s *Server) certificate(c *call) (num uint32, o order, serial []byte, no *refusal) {
	serial, ok := parseSerial(c.id, c.flat)
	if !ok {
		return 0, order{}, nil, refuse("serialNumber", "The serial number is malformed")
	}
	if err := s.settleDue(c.now); err != nil {
		return 0, order{}, nil, &refusal{http.StatusInternalServerError, "cagw-5000", "Internal error", ""}
	}
	if num, ok = s.store.nonce.orderOf(serial); ok {
		if o, ok = s.store.get(num); ok && o.state == issued && o.ca == c.ca {
			return num, o, serial, nil
		}
	}
	return 0, order{}, serial, &refusal{http.StatusNotFound, "cagw-4041", "Certificate not found", "serialNumber"}
}

// certificateAnswer is the answer to GET …/certificates/{hex}.
type certificateAnswer struct {
	Type        string          `json:"type"`
	Certificate certificateView `json:"certificate"`
	Chain       []certData      `json:"chain"`
}

type certificateView struct {
	Status          string          `json:"status"`
	Version         int             `json:"versionNumber"`
	SerialNumber    string          `json:"serialNumber"`
	SignatureAlgID  string          `json:"signatureAlgID"`
	IssuerName      string          `json:"issuerName"`
	SubjectName     string          `json:"subjectName"`
	EncodedSubject  string          `json:"rfc2253EncodedSubjectName"`
	EscapedSubject  string          `json:"rfc2253EscapedSubjectName"`
	ValidityPeriod  string          `json:"validityPeriod"`
	PublicKey       publicKeyView   `json:"subjectPublicKeyInfo"`
	SignatureAlg    string          `json:"certificateSignatureAlg"`
	Revocation      *revocationView `json:"revocationInfo,omitempty"`
	CertificateData string          `json:"certificateData"`
}

type publicKeyView struct {
	Alg string `json:"publicKeyAlg"`
	Key string `json:"subjectPublicKey"`
}

type revocationView struct {
	Comment        string `json:"comment"`
	CompromiseDate string `json:"compromiseDate"`
	RevocationDate string `json:"revocationDate"`
	Reason         string `json:"reason"`
}

// describeCertificate serves GET …/certificates/{hex}.
func (s *Server) describeCertificate(c *call) *answer {
	num, o, _, no := s.certificate(c)
	if no != nil {
		return s.refusalAnswer(c, no)
	}
	cert, err := x509.ParseCertificate(o.cert)
	if err != nil {
		return s.internalError(c)
	}
	name := nameString(cert.RawSubject)
	view := certificateView{
		Status: "normal", Version: cert.Version, SerialNumber: s.hexSerial(cert.SerialNumber),
		SignatureAlgID: "1.2.840.10045.4.3.2", IssuerName: recordedName(cert.RawIssuer), SubjectName: recordedName(cert.RawSubject),
		EncodedSubject: name, EscapedSubject: name, ValidityPeriod: periodString(cert.NotBefore, cert.NotAfter),
		PublicKey: publicKeyView{
			Alg: cert.PublicKeyAlgorithm.String(),
			Key: base64.StdEncoding.EncodeToString(cert.RawSubjectPublicKeyInfo),
		},
		SignatureAlg: "SHA256withECDSA", CertificateData: base64.StdEncoding.EncodeToString(o.cert),
	}
	if rev, ok := s.store.revocation(num); ok && o.standing != valid {
		view.Status = standingWord(o.standing)
		at := time.Unix(0, rev.at).UTC().Format(time.RFC3339Nano)
		view.Revocation = &revocationView{rev.comment, at, at, rev.reason}
	}
	return jsonAnswer(http.StatusOK, certificateAnswer{Type: "CertificateResponse", Certificate: view, Chain: s.chains.good.data})
}

func standingWord(st standing) string {
	switch st {
	case revoked:
		return "revoked"
	case held:
		return "held"
	}
	return "normal"
}
