// Command policy measures the cost of policy and audit for an order: one policy check by
// twenty rules of a decoded request, with and without an expression, and one record of
// the audit trail. The bar is 60 µs of CPU for both.
//
//	go run ./policy
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// twenty is a policy with twenty rules for one producer: each item below is one rule.
const twenty = `
producers:
  shop:
    kinds: [issue, revoke]
    cas: [issuing-1, issuing-2]
    profiles: [tls-server, tls-client]
    names:
      dns: {exact: [other.example], suffixes: [a.example, b.example, shop.example], wildcards: true}
      ip: [192.0.2.0/24, "2001:db8::/32"]
      email: [shop.example]
      uri: ["spiffe://shop.example/"]
      other: [registeredID]
    subject:
      C: {values: [DE]}
      O: {values: [Shop Ltd], required: true}
      OU: {}
    keys: [RSA 3072, EC P-256]
    max_validity: 90d
    longer_validity: cut
    max_wait: 24h
    extensions: [keyUsage, tlsFeature]
    ekus: [serverAuth, clientAuth]
    properties: [requester]
    revoke: {serials: any, reasons: [superseded]}
`

const expressions = `
    expressions:
      - {expr: 'size(names) <= 10 && names.all(n, !n.startsWith("email:"))', message: at most ten names and no e-mail address}
`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "policy:", err)
		os.Exit(1)
	}
}

func run() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "www.shop.example", Organization: []string{"Shop Ltd"}, Country: []string{"DE"}},
		DNSNames: []string{"www.shop.example", "api.shop.example", "*.shop.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)},
	}, key)
	if err != nil {
		return err
	}
	audited, err := auditCost()
	if err != nil {
		return err
	}
	fmt.Printf("audit, one record:                       %6.1f µs of CPU\n", micros(audited))
	issue := &entrustbus.Issue{ID: "a", CSRDER: der, ValiditySeconds: 365 * 24 * 3600, SANs: []string{"www.shop.example"}, EKUs: []string{"serverAuth"}}
	if err := issue.Validate(); err != nil { // as the worker's decoder does
		return err
	}
	for _, c := range []struct{ name, rules string }{{"twenty rules", twenty}, {"twenty rules and an expression", twenty + expressions}} {
		p, err := policy.Parse([]byte(c.rules))
		if err != nil {
			return err
		}
		q := policy.Request{Producer: "shop", Body: issue, CA: "issuing-1", Profile: "tls-server"}
		if v := p.Judge(q); v.Denial != nil {
			return v.Denial
		}
		before, err := cpu()
		if err != nil {
			return err
		}
		for range rounds {
			p.Judge(q)
		}
		after, err := cpu()
		if err != nil {
			return err
		}
		per := (after - before) / rounds
		fmt.Printf("policy, %-32s %6.1f µs of CPU an order; with the record %.1f µs, bar 60 µs\n", c.name+":", micros(per), micros(per+audited))
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// rounds is how often each request is checked.
const rounds = 50_000

// cpu returns the CPU time of this process, garbage collection included. Other programs
// on the machine do not count.
func cpu() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("reading the CPU time of this process: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
