package main

// twentyRules is a policy with twenty rules for the producer of the requests. Each item
// below is one rule.
const twentyRules = `
producers:
  ` + producer + `:
    kinds: [issue, revoke]
    names:
      dns: {exact: [other.example], suffixes: [a.example, b.example, bench.example], wildcards: true}
      ip: [192.0.2.0/24, "2001:db8::/32"]
      email: [bench.example]
      uri: ["spiffe://bench.example/"]
      other: [registeredID]
    keys: [RSA 3072, EC P-256]
    max_validity: 3650d
    max_wait: 24h
    extensions: [keyUsage, tlsFeature]
    ekus: [serverAuth, clientAuth]
    properties: [requester]
    revoke: {serials: any, reasons: [superseded, unspecified]}
`
