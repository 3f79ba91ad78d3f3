package gatewaytest

import (
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// altName is an entry of subjectAltNames on the wire.
type altName struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	// DER is the base64 of a whole GeneralName, for types without a text form.
	DER string `json:"der"`
}

// retyped returns the entry with the type of its text's form. The CertCtl dialect sends every
// name as a dNSName, also addresses and e-mail addresses.
func (n altName) retyped() altName {
	if told := san.TypeOf(n.Value); told != san.DNS {
		n.Type = string(told)
	}
	return n
}

// encodeAltNames returns the value of the subjectAltName extension; nil for no names.
func encodeAltNames(names []altName) ([]byte, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var b cryptobyte.Builder
	var bad error
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, n := range names {
			if err := n.encode(b); err != nil && bad == nil {
				bad = fmt.Errorf("%s: %w", n.Type, err)
			}
		}
	})
	if bad != nil {
		return nil, bad
	}
	return b.Bytes()
}

// encode appends the entry as a GeneralName (RFC 5280 4.2.1.6).
func (n altName) encode(b *cryptobyte.Builder) error {
	tag := func(i uint8) cryptobyteasn1.Tag { return cryptobyteasn1.Tag(i).ContextSpecific() }
	add := func(i uint8, data []byte) {
		b.AddASN1(tag(i), func(b *cryptobyte.Builder) { b.AddBytes(data) })
	}
	if n.DER != "" {
		raw, err := base64.StdEncoding.DecodeString(n.DER)
		if err != nil {
			return errors.New("der is not base64")
		}
		if err := (san.Name{Type: san.Other, DER: raw}).Check(); err != nil {
			return fmt.Errorf("der %w", err)
		}
		b.AddBytes(raw)
		return nil
	}
	switch n.Type {
	case "rfc822Name":
		if (san.Name{Type: san.Type(n.Type), Value: n.Value}).Check() != nil || !strings.Contains(n.Value, "@") {
			return errors.New("value is not an e-mail address")
		}
		add(1, []byte(n.Value))
	case "dNSName":
		if (san.Name{Type: san.Type(n.Type), Value: n.Value}).Check() != nil || strings.ContainsAny(n.Value, "@/:") {
			return errors.New("value is not a host name")
		}
		add(2, []byte(n.Value))
	case "directoryName":
		der, err := parseDN(n.Value)
		if err != nil {
			return err
		}
		b.AddASN1(tag(4).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(der) })
	case "uniformResourceIdentifier":
		if (san.Name{Type: san.Type(n.Type), Value: n.Value}).Check() != nil || !strings.Contains(n.Value, ":") {
			return errors.New("value is not a URI")
		}
		add(6, []byte(n.Value))
	case "iPAddress":
		addr, err := netip.ParseAddr(n.Value)
		if err != nil || addr.Zone() != "" {
			return errors.New("value is not an IP address")
		}
		add(7, addr.Unmap().AsSlice())
	case "registeredID":
		oid, err := parseOID(n.Value)
		if err != nil {
			return err
		}
		der, err := asn1.Marshal(oid)
		if err != nil {
			return errors.New("value is not an object identifier")
		}
		add(8, der[2:])
	default:
		return errors.New("type is not supported without der")
	}
	return nil
}
