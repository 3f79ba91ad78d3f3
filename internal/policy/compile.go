package policy

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// rules are Rules, compiled for evaluation.
type rules struct {
	kinds, cas, profiles, properties, reasons set
	exact, suffixes, hosts, other             set
	wildcards, sha1, cut, strict              bool
	serials                                   string // revocable serials: a Serials constant
	ranges                                    []netip.Prefix
	uris                                      []string
	subject                                   map[string]Attribute // by object identifier
	required                                  []string             // object identifiers, sorted
	keys                                      set
	rsaBits                                   int // 0: no RSA
	maxValidity, maxWait                      time.Duration
	extensions, ekus                          set                          // object identifiers
	signers                                   map[string]ed25519.PublicKey // by key id; empty: requests need no signature
	window                                    time.Duration
	expressions                               []expression
}

const maxPerMinute = 1_000_000

// set is a list of a policy. Any in it stands for every value.
type set map[string]bool

func (s set) has(v string) bool { return s[v] || s[Any] }

// ruleError names the rule of a policy that is wrong.
func ruleError(rule, value, problem string) error {
	return fmt.Errorf("%s: %.80q %s", rule, value, problem)
}

// setOf makes a set of the normalised items. normal returns "" for an invalid item. With
// any set, the item Any is valid.
func setOf(rule string, items []string, any bool, problem string, normal func(string) string) (set, error) {
	out := make(set, len(items))
	for _, item := range items {
		v := item
		if !any || item != Any {
			if v = normal(item); v == "" {
				return nil, ruleError(rule, item, problem)
			}
		}
		if out[v] {
			return nil, ruleError(rule, item, "is given twice")
		}
		out[v] = true
	}
	return out, nil
}

func itself(s string) string { return s }

func oneOf(words ...string) func(string) string {
	return func(s string) string {
		if slices.Contains(words, s) {
			return s
		}
		return ""
	}
}

// compile checks rules and compiles them.
func compile(from Rules) (*rules, error) {
	r := &rules{
		wildcards: from.Names.DNS.Wildcards, sha1: from.SHA1Signatures, strict: from.Strict,
		maxValidity: time.Duration(from.MaxValidity), maxWait: time.Duration(from.MaxWait),
		serials: cmp.Or(from.Revoke.Serials, SerialsNone), cut: from.LongerValidity == Cut,
	}
	kinds := oneOf(string(entrustbus.KindIssue), string(entrustbus.KindRevoke), string(entrustbus.KindTrack), string(entrustbus.KindCancel))
	for _, list := range []struct {
		rule    string
		items   []string
		any     bool
		problem string
		normal  func(string) string
		to      *set
	}{
		{"kinds", from.Kinds, true, "is not one of issue, revoke, track, cancel", kinds, &r.kinds},
		{"cas", from.CAs, true, "is empty", itself, &r.cas},
		{"profiles", from.Profiles, true, "is empty", itself, &r.profiles},
		{"properties", from.Properties, true, "is empty", itself, &r.properties},
		{"names.dns.exact", from.Names.DNS.Exact, false, "is not a host name, or a wildcard without names.dns.wildcards", r.hostName, &r.exact},
		{"names.dns.suffixes", from.Names.DNS.Suffixes, true, "is not a host name; write it without *. in front", suffix, &r.suffixes},
		{"names.email", from.Names.Email, true, "is not a host name; write the part behind the @", suffix, &r.hosts},
		{"names.other", from.Names.Other, false, "is neither x400Address, directoryName, ediPartyName or registeredID nor an object identifier", otherType, &r.other},
		{"extensions", from.Extensions, false, "is not the name or object identifier of an extension without a rule of its own", extensionID, &r.extensions},
		{"ekus", from.EKUs, true, "is not an extended key usage", func(s string) string { return named(ekuOIDs, s) }, &r.ekus},
		{"revoke.reasons", from.Revoke.Reasons, true, "is not a reason of RFC 5280 5.3.1", oneOf(append(entrustbus.Reasons(), entrustbus.ReasonRemoveFromCRL)...), &r.reasons},
	} {
		var err error
		if *list.to, err = setOf(list.rule, list.items, list.any, list.problem, list.normal); err != nil {
			return nil, err
		}
	}
	switch {
	case from.LongerValidity != "" && from.LongerValidity != Cut && from.LongerValidity != Refuse:
		return nil, ruleError("longer_validity", from.LongerValidity, "is neither cut nor refuse")
	case from.LongerValidity != "" && r.maxValidity == 0:
		return nil, ruleError("longer_validity", from.LongerValidity, "needs max_validity")
	case oneOf(SerialsOwn, SerialsAny, SerialsNone)(r.serials) == "":
		return nil, ruleError("revoke.serials", from.Revoke.Serials, "is not one of own, any, none")
	case from.RequestsPerMinute < 0 || from.RequestsPerMinute > maxPerMinute:
		return nil, fmt.Errorf("requests_per_minute: %d is not 1 to %d", from.RequestsPerMinute, maxPerMinute)
	case r.wildcards && len(r.exact)+len(r.suffixes) == 0:
		return nil, ruleError("names.dns.wildcards", "true", "needs names.dns.exact or names.dns.suffixes")
	}
	for _, compile := range []func(Rules) error{r.compileSignatures, r.compileRanges, r.compileURIs, r.compileSubject, r.compileKeys, r.compileExpressions} {
		if err := compile(from); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *rules) hostName(s string) string {
	n, err := san.Parse("dns:" + s)
	if err != nil || strings.HasPrefix(n.Value, "*.") && !r.wildcards {
		return ""
	}
	return n.Value
}

func suffix(s string) string {
	n, err := san.Parse("dns:" + s)
	if err != nil || strings.HasPrefix(n.Value, "*.") {
		return ""
	}
	return n.Value
}

func otherType(s string) string {
	if isOID(s) {
		return s
	}
	return oneOf(typeX400, typeDirectory, typeEDI, typeRegistered)(s)
}

// extensionID returns the id of an extension, "" for extensions that have rules of their
// own.
func extensionID(s string) string {
	switch id := named(extensionOIDs, s); id {
	case oidAltName, oidEKU:
		return ""
	default:
		return id
	}
}

func (r *rules) compileRanges(from Rules) error {
	for _, text := range from.Names.IP {
		p, err := netip.ParsePrefix(text)
		if a, errA := netip.ParseAddr(text); errA == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6() || p.Addr().Zone() != "":
			return ruleError("names.ip", text, "is not an IP address or a range such as 192.0.2.0/24")
		case p != p.Masked():
			return ruleError("names.ip", text, "has bits behind its prefix length; write "+p.Masked().String())
		}
		r.ranges = append(r.ranges, p)
	}
	return nil
}

func (r *rules) compileURIs(from Rules) error {
	for _, text := range from.Names.URI {
		u, err := url.Parse(text)
		switch {
		case text == Any:
		case err != nil || !plainURI(text, u):
			return ruleError("names.uri", text, "is not the beginning of a URI")
		case u.Opaque == "" && u.Path == "":
			return ruleError("names.uri", text, "must have a path: without one it would allow other hosts that begin alike; write a / behind the host")
		}
		r.uris = append(r.uris, text)
	}
	return nil
}

// plainURI reports whether every parser finds the same host and path in a URI.
func plainURI(text string, u *url.URL) bool {
	lower := strings.ToLower(text)
	for _, trick := range []string{"/./", "/../", "%2e", "%2f", "%5c", `\`} {
		if strings.Contains(lower, trick) {
			return false
		}
	}
	return u.Scheme != "" && u.User == nil && !strings.HasSuffix(u.Path, "/.") && !strings.HasSuffix(u.Path, "/..")
}

func (r *rules) compileSubject(from Rules) error {
	r.subject = make(map[string]Attribute, len(from.Subject))
	for key, a := range from.Subject {
		id := named(attributeOIDs, key)
		if id == "" {
			return ruleError("subject", key, "is not the name or object identifier of an attribute")
		}
		if _, twice := r.subject[id]; twice {
			return ruleError("subject", key, "is given twice")
		}
		if slices.Contains(a.Values, "") {
			return ruleError("subject."+key, "", "can be no value")
		}
		r.subject[id] = a
		if a.Required {
			r.required = append(r.required, id)
		}
	}
	slices.Sort(r.required)
	return nil
}

func (r *rules) compileKeys(from Rules) error {
	keys := from.Keys
	if keys == nil {
		keys = Keys()
	}
	r.keys = set{}
	for _, text := range keys {
		if text == "" || text == Any || text == "RSA" {
			return ruleError("keys", text, "is not a key type; write RSA with the least number of bits, or a type such as EC P-256")
		}
		if bits, ok := strings.CutPrefix(text, "RSA "); ok {
			n, err := strconv.Atoi(bits)
			if err != nil || n < 1024 || n > 16384 || r.rsaBits != 0 {
				return ruleError("keys", text, "is not RSA with one least number of bits, 1024 to 16384")
			}
			r.rsaBits = n
		} else {
			r.keys[text] = true
		}
	}
	return nil
}
