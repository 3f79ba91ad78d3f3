package san

import (
	"net/netip"
	"net/url"
	"strings"
)

// Parse reads a name as people write it: dns:, ip:, email: or uri: in front, or bare and told by TypeOf. A DNS name has 1
// to 253 bytes of letters, digits, - and _, may begin with a wildcard label and end with a dot, and has international
// names as A-labels (xn--). The error is an *Error.
func Parse(s string) (Name, error) {
	n := Name{Type: DNS, Value: s}
	if s == "" {
		return Name{}, &Error{Problem: "is empty", Fix: "leave it out"}
	}
	if err := n.Check(); err != nil {
		return Name{}, err
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
	switch TypeOf(s) {
	case IP:
		return parseIP(s)
	case URI:
		return parseURI(s)
	case Email:
		return parseEmail(s)
	}
	return parseDNS(s)
}

// TypeOf tells the type of a bare name by its form: an address is an IP, :// inside it makes it a URI, @ an Email, and
// anything else is a DNS name.
func TypeOf(s string) Type {
	switch _, err := netip.ParseAddr(s); {
	case err == nil:
		return IP
	case strings.Contains(s, "://"):
		return URI
	case strings.Contains(s, "@"):
		return Email
	}
	return DNS
}

func parseDNS(s string) (Name, error) {
	s = Host(s)
	if !dnsName(strings.TrimPrefix(s, "*.")) {
		return Name{}, &Error{Problem: "is not a DNS name", Fix: "put ip:, email: or uri: in front of a name of another type"}
	}
	return Name{Type: DNS, Value: s}, nil
}

// dnsName reports whether s, in lower case, is labels of letters, digits, - and _. A last label of digits only is
// refused: it is an address with a slip in it.
func dnsName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	last := ""
	for _, label := range strings.Split(s, ".") {
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

func parseIP(s string) (Name, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return Name{}, &Error{Problem: "is not an IP address", Fix: "write it without prefix length and zone"}
	}
	return Name{Type: IP, Value: ip.Unmap().String()}, nil
}

func parseEmail(s string) (Name, error) {
	s = mailbox(s)
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || strings.ContainsAny(local, `"(),:;<>[\]`) || !dnsName(domain) {
		return Name{}, &Error{Problem: "is not an e-mail address"}
	}
	return Name{Type: Email, Value: s}, nil
}

func parseURI(s string) (Name, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" && u.Path == "" {
		return Name{}, &Error{Problem: "is not an absolute URI"}
	}
	return Name{Type: URI, Value: s}, nil
}
