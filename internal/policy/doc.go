// Package policy judges who may ask for what: a request, and the raw bytes of its
// certificate request, against the rules of its producer. It is pure: it knows no server,
// no gateway, no file and no clock.
//
// # Closed by default
//
// A Policy is read from YAML by Parse. What a policy does not name is refused: a producer
// without rules may ask for nothing, a name of a type without a rule is never allowed, and
// a list that is absent allows only requests that choose nothing there. "*" in a list
// stands for any.
//
//	producers:
//	  shop:
//	    signatures:                     # absent: requests need no signature
//	      keys: {shop-1: MCowBQYDK2VwAyEA…} # ed25519, by id: several for a rotation
//	      window: 15m                   # between signing and publication; 15m where absent
//	    kinds: [issue, revoke]          # of issue, revoke, track, cancel
//	    cas: [issuing-1]                # absent: the request must name none
//	    profiles: [tls-server]          # absent: the request must name none
//	    names:
//	      dns:
//	        exact: [shop.example]
//	        suffixes: [shop.example]    # the name itself and all below it
//	        wildcards: true
//	      ip: [192.0.2.0/24]
//	      email: [shop.example]         # the host part, exactly
//	      uri: ["spiffe://shop.example/"]
//	      other: [registeredID, 1.3.6.1.4.1.311.20.2.3] # other types, and type ids of otherName
//	    subject:
//	      O: {values: [Shop Ltd], required: true}
//	      OU: {}                        # any value
//	    keys: [RSA 3072, EC P-256]      # absent: see Keys
//	    sha1_signatures: false
//	    max_validity: 90d
//	    longer_validity: cut            # or refuse, the default
//	    max_wait: 24h
//	    extensions: [keyUsage]          # by name or id; names and key usages have rules of their own
//	    ekus: [serverAuth]
//	    properties: [requester]
//	    revoke: {serials: own, reasons: [superseded, keyCompromise]} # own, any or none
//	    requests_per_minute: 600        # of kind issue; what exceeds it waits for its turn
//	    strict: true                    # an unknown key near a known one is refused, not a warning
//	    expressions:                    # in CEL, for what has no rule; all must be true
//	      - {expr: "size(names) <= 10", message: at most ten names}
//
// # Names
//
// Every name counts, wherever it stands: in sans, common_name, subject_dn and
// subject_variables of the request, in its extensions, and in the certificate request. That one is read again from its bytes:
// crypto/x509 drops names that it does not know, and a CA may not. What cannot be read
// without doubt is refused, by the rule "csr" or "subject_dn".
//
// A common name and an emailAddress are names like those of a subjectAltName, so that the
// rules of names hold for them; subject.CN can name values beside those. All other subject
// attributes are refused unless subject names them.
package policy
