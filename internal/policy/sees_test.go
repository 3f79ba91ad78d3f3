package policy

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"testing"
)

// seesAll checks that the raw reader found every name that crypto/x509 finds.
func seesAll(t *testing.T, der []byte, c content) {
	t.Helper()
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return
	}
	want := make([]name, 0, len(csr.DNSNames))
	add := func(typ, value string) {
		n, ok := normal(typ, value)
		if !ok {
			t.Errorf("%s %q is no name, and was read", typ, value)
		}
		want = append(want, n)
	}
	for _, v := range csr.DNSNames {
		add(typeDNS, v)
	}
	for _, v := range csr.EmailAddresses {
		add(typeEmail, v)
	}
	for _, v := range csr.IPAddresses {
		a, _ := netip.AddrFromSlice(v)
		want = append(want, name{typeIP, a.Unmap().String()})
	}
	for _, n := range want {
		if !slices.Contains(c.names, n) {
			t.Errorf("crypto/x509 sees %v, which was not read: %v", n, c.names)
		}
	}
	for _, a := range csr.Subject.Names {
		if text, ok := a.Value.(string); ok && !slices.Contains(c.subject, attribute{a.Type.String(), text}) {
			t.Errorf("crypto/x509 sees %s=%q, which was not read: %v", a.Type, text, c.subject)
		}
	}
	if len(c.extensions)+len(c.names)+len(c.ekus) == 0 && len(csr.Extensions) > 1 {
		t.Errorf("crypto/x509 sees %d extensions, and none was read", len(csr.Extensions))
	}
}
