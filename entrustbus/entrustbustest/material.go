package entrustbustest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"time"
)

// CSR makes a PKCS#10 certificate request with a new P-256 key, as DER and as PEM, with the first name as common name
// and all as DNS names, or addresses where they are ones. It panics if it cannot.
func CSR(names ...string) (der []byte, text string) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if template.Subject.CommonName == "" {
			template.Subject.CommonName = name
		}
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der = must(x509.CreateCertificateRequest(rand.Reader, template, key))
	return der, block("CERTIFICATE REQUEST", der)
}

// material is what the corpus bends.
type material struct {
	csrDER          []byte
	csrPEM          string
	otherPEM        string // another certificate request, just as good
	certificatePEM  string
	badSignatureDER []byte
	twoSANsDER      []byte // the subjectAltName extension twice
}

func newMaterial() material {
	var m material
	m.csrDER, m.csrPEM = CSR("hostile.example.net")
	_, m.otherPEM = CSR("other.example.net")

	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711),
		Subject:      pkix.Name{CommonName: "hostile.example.net"},
		NotBefore:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	m.certificatePEM = block("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)))

	// One letter of the subject changes what the signature is over and leaves the structure whole.
	m.badSignatureDER = []byte(strings.Replace(string(m.csrDER), "hostile.example.net", "hostilE.example.net", 1))

	san := pkix.Extension{Id: []int{2, 5, 29, 17}, Value: []byte{0x30, 3, 0x82, 1, 'a'}}
	m.twoSANsDER = must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:         pkix.Name{CommonName: "hostile.example.net"},
		ExtraExtensions: []pkix.Extension{san, san},
	}, key))
	return m
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
