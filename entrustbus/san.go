package entrustbus

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// SANType is a type of subject alternative name, as the gateway names it.
type SANType string

// The types of subject alternative name. SANOther is any other GeneralName of a certificate request; a request's own
// `sans` cannot have it.
const (
	SANDNS   SANType = "dNSName"
	SANIP    SANType = "iPAddress"
	SANEmail SANType = "rfc822Name"
	SANURI   SANType = "uniformResourceIdentifier"
	SANOther SANType = "other"
)

// SAN is one subject alternative name.
type SAN struct {
	Type SANType
	// Value is the name: DNS names in lower case, addresses in their shortest form, an IPv4 address never mapped into
	// IPv6. Empty for SANOther.
	Value string
	// DER is the whole GeneralName of a SANOther, nil for the rest.
	DER []byte
}

// ParseSAN reads one entry of `sans`: dns:, ip:, email: or uri: in front, or bare and told by its form (an address is
// an ip, with :// inside it is a uri, with @ an email, anything else a dns). A DNS name has 1 to 253 bytes of letters,
// digits, - and _, may begin with a wildcard label, and has international names as A-labels (xn--). The error is a
// *FieldError for "sans".
func ParseSAN(s string) (SAN, error) {
	if s == "" {
		return SAN{}, errSAN("is empty", "leave it out")
	}
	if len(s) > MaxSANBytes {
		return SAN{}, errTooLong("sans", MaxSANBytes)
	}
	if !visible(s) {
		return SAN{}, errSAN("has a blank or a character that is not ASCII", "write international names as A-labels (xn--)")
	}
	if kind, rest, ok := strings.Cut(s, ":"); ok {
		switch strings.ToLower(kind) {
		case "dns":
			return parseDNS(rest)
		case "ip":
			return parseIP(rest)
		case "email":
			return parseEmail(rest)
		case "uri":
			return parseURI(rest)
		}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return parseIP(s)
	}
	switch {
	case strings.Contains(s, "://"):
		return parseURI(s)
	case strings.Contains(s, "@"):
		return parseEmail(s)
	}
	return parseDNS(s)
}

func parseDNS(s string) (SAN, error) {
	s = strings.ToLower(s)
	name := strings.TrimPrefix(s, "*.")
	if !dnsName(name) {
		return SAN{}, errSAN("is no DNS name", "put ip:, email: or uri: in front of a name of another type")
	}
	return SAN{Type: SANDNS, Value: s}, nil
}

// dnsName reports whether s, in lower case, is labels of letters, digits, - and _. A last label of digits only is
// refused: it is an address with a slip in it.
func dnsName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

func parseIP(s string) (SAN, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return SAN{}, errSAN("is no IP address", "write it without prefix length and zone")
	}
	return SAN{Type: SANIP, Value: ip.Unmap().String()}, nil
}

func parseEmail(s string) (SAN, error) {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || strings.ContainsAny(local, `"(),:;<>[\]`) || !dnsName(strings.ToLower(domain)) {
		return SAN{}, errSAN("is no e-mail address", "")
	}
	return SAN{Type: SANEmail, Value: local + "@" + strings.ToLower(domain)}, nil
}

func parseURI(s string) (SAN, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" && u.Path == "" {
		return SAN{}, errSAN("is no absolute URI", "")
	}
	return SAN{Type: SANURI, Value: s}, nil
}

// visible reports whether s is something, and printable ASCII without blanks.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// parseSANs reads a whole list, each name once.
func parseSANs(list []string) ([]SAN, error) {
	if len(list) > MaxSANs {
		return nil, errTooMany("sans")
	}
	out := make([]SAN, 0, len(list))
	for i, s := range list {
		san, err := ParseSAN(s)
		if err != nil {
			if f, ok := errors.AsType[*FieldError](err); ok {
				f.Field = fmt.Sprintf("sans[%d]", i)
			}
			return nil, err
		}
		out = append(out, san)
	}
	return unique(out), nil
}

// unique drops all but the first of equal names, in place.
func unique(names []SAN) []SAN {
	seen := make(map[string]bool, len(names))
	return slices.DeleteFunc(names, func(n SAN) bool {
		key := string(n.Type) + ":" + n.Value + string(n.DER)
		twice := seen[key]
		seen[key] = true
		return twice
	})
}

func errSAN(problem, fix string) *FieldError {
	return &FieldError{Field: "sans", Problem: problem, Fix: fix}
}

func errTooMany(field string) *FieldError {
	return &FieldError{Field: field, Problem: fmt.Sprintf("has more than %d names", MaxSANs)}
}
