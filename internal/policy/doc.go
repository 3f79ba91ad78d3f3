// Package policy checks a request and the raw bytes of its certificate request against
// the rules of its producer. It is pure: it uses no server, no gateway, no file and no
// clock.
//
// # Closed by default
//
// Parse reads a Policy from YAML. A policy refuses everything that it does not name. A
// producer without rules may ask for nothing. A name of a type without a rule is never
// allowed. An absent list allows only requests that make no choice there. "*" in a list
// stands for any value.
//
//	producers:
//	  shop:
//	    signatures:                     # absent: requests need no signature
//	      keys: {shop-1: MCowBQYDK2VwAyEA…} # ed25519, by id: several for a rotation
//	      window: 15m                   # between signing and publication; default 15m
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
//	    extensions: [keyUsage]          # by name or id; names and key usages have their own rules
//	    ekus: [serverAuth]
//	    properties: [requester]
//	    revoke: {serials: own, reasons: [superseded, keyCompromise]} # own, any or none
//	    requests_per_minute: 600        # of kind issue; requests beyond it wait for their turn
//	    strict: true                    # refuse an unknown key that resembles a known one, instead of a warning
//	    expressions:                    # in CEL, for conditions without a rule; all must be true
//	      - {expr: "size(names) <= 10", message: at most ten names}
//
// # Names
//
// Every name counts, in every place: in sans, common_name, subject_dn and
// subject_variables of the request, in its extensions, and in the certificate request.
// The package reads the certificate request again from its bytes, because crypto/x509
// drops names that it does not know and a CA may keep them. The rules "csr" and
// "subject_dn" refuse parts that cannot be read unambiguously.
//
// A common name and an emailAddress count as names of a subjectAltName, so the rules of
// names apply. subject.CN can allow further values. All other subject attributes are
// refused unless subject names them.
package policy
