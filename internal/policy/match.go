package policy

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// allows reports whether the rules of names allow a name.
func (r *rules) allows(n name) bool {
	switch n.typ {
	case typeDNS:
		return r.allowsHost(n.value)
	case typeIP:
		ip, err := netip.ParseAddr(n.value)
		if err != nil {
			return false
		}
		for _, p := range r.ranges {
			if p.Contains(ip) {
				return true
			}
		}
	case typeEmail:
		_, host, ok := strings.Cut(n.value, "@")
		return ok && !strings.Contains(host, "@") && r.hosts.has(host)
	case typeURI:
		return r.allowsURI(n.value)
	case typeOther:
		return r.other[n.value]
	default:
		return r.other[n.typ]
	}
	return false
}

func (r *rules) allowsHost(host string) bool {
	below, wildcard := strings.CutPrefix(host, "*.")
	if wildcard && !r.wildcards {
		return false
	}
	if r.exact[host] || r.suffixes[Any] {
		return true
	}
	for {
		if r.suffixes[below] {
			return true
		}
		_, parent, ok := strings.Cut(below, ".")
		if !ok {
			return false
		}
		below = parent
	}
}

func (r *rules) allowsURI(text string) bool {
	if slices.Contains(r.uris, Any) {
		return true
	}
	u, err := url.Parse(text)
	if err != nil || !plainURI(text, u) {
		return false
	}
	for _, begin := range r.uris {
		rest, ok := strings.CutPrefix(text, begin)
		if ok && (rest == "" || strings.ContainsRune("/?#", rune(rest[0])) || strings.ContainsRune("/:", rune(begin[len(begin)-1]))) {
			return true
		}
	}
	return false
}

// typed returns the name in a text without a type, from sans or a common name; false if
// the text is not a name.
func typed(text string) (name, bool) {
	switch san.TypeOf(text) {
	case san.IP:
		return normal(typeIP, text)
	case san.URI:
		return normal(typeURI, text)
	case san.Email:
		return normal(typeEmail, text)
	}
	return normal(typeDNS, text)
}

// ofSAN returns the name of an item of sans.
func ofSAN(n san.Name) name {
	switch n.Type {
	case san.DNS:
		return name{typeDNS, n.Value}
	case san.IP:
		return name{typeIP, n.Value}
	case san.Email:
		return name{typeEmail, n.Value}
	case san.URI:
		return name{typeURI, n.Value}
	}
	return name{typ: typeOther}
}
