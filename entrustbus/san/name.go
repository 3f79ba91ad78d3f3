// Package san holds subject alternative names: the one reader of their text and of their DER, and how two of them
// compare. The bus contract, the gateway client and the command line use it, so that one name means one thing everywhere.
//
// The policy: host names compare in lower case and without a trailing dot, and are kept so. An IPv4 address is never
// mapped into IPv6. International host names are A-labels (xn--…), as RFC 5280 4.2.1.6 demands.
package san

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Type is a type of subject alternative name, as the CA Gateway names it.
type Type string

// The types of subject alternative name. Other is any GeneralName without a text form of ours.
const (
	DNS   Type = "dNSName"
	IP    Type = "iPAddress"
	Email Type = "rfc822Name"
	URI   Type = "uniformResourceIdentifier"
	Other Type = "other"
)

// Name is one subject alternative name. Parse and Read make names that are written as the package's policy says.
type Name struct {
	// Type is one of the five types.
	Type Type
	// Value is the name's text; empty for Other, and for an address of an impossible length.
	Value string
	// DER is the whole GeneralName of an Other; nil for the rest.
	DER []byte
}

// Error says what is wrong with a name.
type Error struct {
	// Problem completes the sentence "<name> …".
	Problem string
	// Fix is what to do, possibly empty.
	Fix string
}

// Error is `problem; fix`.
func (e *Error) Error() string {
	if e.Fix == "" {
		return e.Problem
	}
	return e.Problem + "; " + e.Fix
}

const writeALabel = "write it as an A-label (xn--…)"

// Check reports why no certificate can be asked for with this name, as an *Error; nil if nothing is wrong. It holds a
// DNS name to printable ASCII only: which further names a CA issues is the CA's decision.
func (n Name) Check() error {
	switch n.Type {
	case DNS, Email, URI:
		switch {
		case n.Value == "":
			return &Error{Problem: "is empty"}
		case strings.ContainsFunc(n.Value, func(r rune) bool { return r > '~' }):
			fix := "write the host part as an A-label (xn--…)"
			if n.Type == DNS {
				fix = writeALabel
			}
			return &Error{Problem: "contains a character that is not ASCII", Fix: fix}
		case !Visible(n.Value):
			return &Error{Problem: "contains a blank or a control character"}
		}
	case IP:
		if _, err := netip.ParseAddr(n.Value); err != nil {
			return &Error{Problem: "is not an IP address"}
		}
	case Other:
		var name asn1.RawValue
		if rest, err := asn1.Unmarshal(n.DER, &name); err != nil || len(rest) > 0 || name.Class != asn1.ClassContextSpecific {
			return &Error{Problem: "is not the DER of one name"}
		}
	default:
		return &Error{Problem: fmt.Sprintf("has an unknown type; one of %s, %s, %s, %s, %s", DNS, IP, Email, URI, Other)}
	}
	return nil
}

// CoveredBy reports whether a certificate for have serves for n: the same name, or for a host name a wildcard in the
// place of its first label (RFC 6125 6.4.3).
func (n Name) CoveredBy(have Name) bool {
	if n.Type != have.Type {
		return false
	}
	switch n.Type {
	case DNS:
		a, b := Host(n.Value), Host(have.Value)
		if a == b {
			return true
		}
		_, parent, ok := strings.Cut(a, ".")
		return ok && !strings.HasPrefix(a, "*.") && b == "*."+parent
	case IP:
		a, errA := netip.ParseAddr(n.Value)
		b, errB := netip.ParseAddr(have.Value)
		return errA == nil && errB == nil && a.Unmap() == b.Unmap()
	case Email:
		return mailbox(n.Value) == mailbox(have.Value)
	case Other:
		return bytes.Equal(n.DER, have.DER)
	}
	return n.Value == have.Value
}

// Uncovered is the first of the wanted names that no name of have covers, and whether there is one.
func Uncovered(want, have []Name) (Name, bool) {
	for _, w := range want {
		if !slices.ContainsFunc(have, w.CoveredBy) {
			return w, true
		}
	}
	return Name{}, false
}

// Unique drops all but the first of equal names, in place.
func Unique(names []Name) []Name {
	seen := make(map[string]bool, len(names))
	return slices.DeleteFunc(names, func(n Name) bool {
		key := string(n.Type) + ":" + n.Value + string(n.DER)
		twice := seen[key]
		seen[key] = true
		return twice
	})
}

// Host is a host name as it is compared: in lower case, without a trailing dot.
func Host(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// mailbox writes the host part of an e-mail address as it is compared. The local part may have case (RFC 5280 7.5).
func mailbox(s string) string {
	i := strings.LastIndexByte(s, '@')
	return s[:i+1] + Host(s[i+1:])
}

// Visible reports whether s is printable ASCII without blanks, and not empty, as the IA5String of a name has to be.
func Visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
