package renewal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/keys"
)

// CSR is a certificate request for a renewal. The bus does not keep the certificate
// requests of issued certificates.
type CSR struct {
	// PEM is the certificate request.
	PEM   string
	names []string
	key   string
}

// ReadCSR reads a certificate request. The error is an *entrustbus.FieldError.
func ReadCSR(pem string) (CSR, error) {
	issue := entrustbus.Issue{ID: "renew", CSRPEM: pem}
	if err := issue.Validate(); err != nil {
		return CSR{}, err
	}
	csr, err := issue.CertificateRequest()
	if err != nil {
		return CSR{}, err
	}
	names, err := issue.Names()
	if err != nil {
		return CSR{}, err
	}
	out := CSR{PEM: pem, key: keys.Hash(csr.RawSubjectPublicKeyInfo)}
	for _, n := range names {
		out.names = append(out.names, certs.JoinNames([]entrustbus.SAN{n}))
	}
	if len(names) == 0 {
		out.names = []string{"cn:" + csr.Subject.CommonName}
	}
	slices.Sort(out.names)
	return out, nil
}

// Request returns the issue request that renews a certificate. It uses a certificate
// request for the same names, else one for the same key; nil if none matches. The
// request's id depends only on the certificate, so a request that is sent twice is one
// order.
func (c *Certificate) Request(all []CSR) *entrustbus.Issue {
	at := slices.IndexFunc(all, func(r CSR) bool { return len(c.Names) > 0 && slices.Equal(r.names, c.sorted()) })
	var sans []string
	if at < 0 {
		if at = slices.IndexFunc(all, func(r CSR) bool { return r.key == c.Key }); at < 0 {
			return nil
		}
		if len(c.Names) > 0 && !strings.HasPrefix(c.Names[0], "cn:") {
			sans = c.Names // the order requested other names than its certificate request
		}
	}
	return &entrustbus.Issue{
		ID: ID(c.Serial), CSRPEM: all[at].PEM, SANs: sans, CAID: c.CAID, ProfileID: c.ProfileID, Labels: c.Labels,
	}
}

func (c *Certificate) sorted() []string { return slices.Sorted(slices.Values(c.Names)) }

// ID returns the id of the request that renews the certificate with a serial.
func ID(serial string) string {
	return fmt.Sprintf("renew-%.58s", serial)
}
