package policy

import (
	"encoding/asn1"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// content is the content of a certificate request, read from its bytes.
type content struct {
	subject    []attribute
	names      []name
	extensions []extension
	ekus       []string // object identifiers
	authority  bool     // it asks to be a CA
}

// attribute is one attribute of a subject.
type attribute struct{ oid, value string }

// name is one GeneralName. typ is its type as rules name it: dns, ip, email, uri, or the
// name of another type. The value of an otherName is the id of its type.
type name struct{ typ, value string }

type extension struct {
	oid      string
	critical bool
}

// Name types, as rules name them.
const (
	typeDNS   = "dns"
	typeIP    = "ip"
	typeEmail = "email"
	typeURI   = "uri"

	typeOther      = "otherName"
	typeX400       = "x400Address"
	typeDirectory  = "directoryName"
	typeEDI        = "ediPartyName"
	typeRegistered = "registeredID"
)

// unreadable names the part of a certificate request that cannot be read.
type unreadable struct{ part string }

func (e *unreadable) Error() string { return e.part + " cannot be decoded" }

func cannot(part string) error { return &unreadable{part} }

// reader reads strict DER: no BER, no trailing bytes.
type reader struct{ cryptobyte.String }

// inside reads one element with a tag and returns its content.
func (r *reader) inside(tag cbasn1.Tag) (reader, bool) {
	var in cryptobyte.String
	ok := r.ReadASN1(&in, tag)
	return reader{in}, ok
}

func (r *reader) oid() (string, bool) {
	var id asn1.ObjectIdentifier
	ok := r.ReadASN1ObjectIdentifier(&id)
	return id.String(), ok
}

// readCSR reads a certificate request from its DER. It reads every attribute, name and
// extension, and fails at the first one that it cannot read: no rule would check an
// unread part.
func readCSR(der []byte) (content, error) {
	var c content
	in := reader{der}
	outer, ok := in.inside(cbasn1.SEQUENCE)
	if !ok || !in.Empty() {
		return c, cannot("the certificate request")
	}
	info, ok := outer.inside(cbasn1.SEQUENCE)
	if !ok || !outer.SkipASN1(cbasn1.SEQUENCE) || !outer.SkipASN1(cbasn1.BIT_STRING) || !outer.Empty() {
		return c, cannot("the certificate request")
	}
	var version int
	if !info.ReadASN1Integer(&version) || version != 0 {
		return c, cannot("the version")
	}
	subject, ok := info.inside(cbasn1.SEQUENCE)
	if !ok {
		return c, cannot("the subject")
	}
	var err error
	if c.subject, err = readRDNs(subject); err != nil {
		return c, err
	}
	if !info.SkipASN1(cbasn1.SEQUENCE) {
		return c, cannot("the key")
	}
	if info.Empty() {
		return c, nil // old programs omit the attributes
	}
	attributes, ok := info.inside(cbasn1.Tag(0).ContextSpecific().Constructed())
	if !ok || !info.Empty() {
		return c, cannot("the attributes")
	}
	return c, c.readAttributes(attributes)
}

// readRDNs reads the attributes of a subject, including those of multi-valued parts.
func readRDNs(in reader) ([]attribute, error) {
	var all []attribute
	for !in.Empty() {
		set, ok := in.inside(cbasn1.SET)
		if !ok || set.Empty() {
			return nil, cannot("the subject")
		}
		for !set.Empty() {
			pair, ok := set.inside(cbasn1.SEQUENCE)
			if !ok {
				return nil, cannot("the subject")
			}
			id, ok := pair.oid()
			var value cryptobyte.String
			var tag cbasn1.Tag
			if !ok || !pair.ReadAnyASN1(&value, &tag) || !pair.Empty() {
				return nil, cannot("the subject")
			}
			text, ok := decodeText(tag, value)
			if !ok {
				return nil, cannot(fmt.Sprintf("the value of the subject's attribute %s (a string of type %d)", attributeName(id), tag))
			}
			all = append(all, attribute{id, text})
		}
	}
	return all, nil
}

// readAttributes reads the attributes after the key. It refuses two extension requests,
// because programs differ in which one they read.
func (c *content) readAttributes(in reader) error {
	seen := false
	for !in.Empty() {
		pair, ok := in.inside(cbasn1.SEQUENCE)
		if !ok {
			return cannot("an attribute")
		}
		id, ok := pair.oid()
		values, ok2 := pair.inside(cbasn1.SET)
		if !ok || !ok2 || !pair.Empty() {
			return cannot("an attribute")
		}
		switch {
		case harmlessAttributes[id]:
			continue
		case id != oidExtensionRequest && id != oidMicrosoftExtensionRequest:
			return cannot("the attribute " + id)
		case seen:
			return cannot("the second request for extensions")
		}
		seen = true
		list, ok := values.inside(cbasn1.SEQUENCE)
		if !ok || !values.Empty() {
			return cannot("the request for extensions")
		}
		if err := c.readExtensions(list); err != nil {
			return err
		}
	}
	return nil
}

func (c *content) readExtensions(in reader) error {
	seen := map[string]bool{}
	for !in.Empty() {
		one, ok := in.inside(cbasn1.SEQUENCE)
		if !ok {
			return cannot("an extension")
		}
		id, ok := one.oid()
		var e extension
		e.oid = id
		if !ok || one.PeekASN1Tag(cbasn1.BOOLEAN) && !one.ReadASN1Boolean(&e.critical) {
			return cannot("an extension")
		}
		value, ok := one.inside(cbasn1.OCTET_STRING)
		if !ok || !one.Empty() {
			return cannot("the extension " + id)
		}
		if seen[id] {
			return cannot("the second extension " + id)
		}
		seen[id] = true
		if err := c.readExtension(e, value); err != nil {
			return err
		}
	}
	return nil
}

// readExtension reads the value of an extension. It decodes extensions that have rules of
// their own.
func (c *content) readExtension(e extension, value reader) error {
	switch e.oid {
	case oidAltName:
		names, err := readNames(value)
		c.names = append(c.names, names...)
		return err
	case oidEKU:
		list, ok := value.inside(cbasn1.SEQUENCE)
		if !ok || !value.Empty() || list.Empty() {
			return cannot("the extension extendedKeyUsage")
		}
		for !list.Empty() {
			id, ok := list.oid()
			if !ok {
				return cannot("the extension extendedKeyUsage")
			}
			c.ekus = append(c.ekus, id)
		}
		return nil
	case oidBasicConstraints:
		list, ok := value.inside(cbasn1.SEQUENCE)
		authority := false
		if !ok || !value.Empty() || list.PeekASN1Tag(cbasn1.BOOLEAN) && !list.ReadASN1Boolean(&authority) {
			return cannot("the extension basicConstraints")
		}
		if list.Empty() && !authority {
			return nil // it asks for the default
		}
		c.authority = c.authority || authority
	}
	c.extensions = append(c.extensions, e)
	return nil
}

// readNames reads the value of a subjectAltName extension.
func readNames(value reader) ([]name, error) {
	list, ok := value.inside(cbasn1.SEQUENCE)
	if !ok || !value.Empty() || list.Empty() {
		return nil, cannot("the extension subjectAltName")
	}
	var names []name
	for !list.Empty() {
		var in cryptobyte.String
		var tag cbasn1.Tag
		if !list.ReadAnyASN1(&in, &tag) {
			return nil, cannot("the extension subjectAltName")
		}
		n, ok := readName(tag, reader{in})
		if !ok {
			return nil, cannot(fmt.Sprintf("a name of the extension subjectAltName (tag %#x)", uint8(tag)))
		}
		names = append(names, n)
	}
	return names, nil
}

// readName reads one GeneralName (RFC 5280 4.2.1.6).
func readName(tag cbasn1.Tag, in reader) (name, bool) {
	primitive := func(n cbasn1.Tag) cbasn1.Tag { return n.ContextSpecific() }
	constructed := func(n cbasn1.Tag) cbasn1.Tag { return n.ContextSpecific().Constructed() }
	switch tag {
	case constructed(0):
		id, ok := in.oid()
		value, ok2 := in.inside(constructed(0))
		var any cryptobyte.String
		var anyTag cbasn1.Tag
		return name{typeOther, id}, ok && ok2 && in.Empty() && value.ReadAnyASN1(&any, &anyTag) && value.Empty()
	case primitive(1):
		return normal(typeEmail, string(in.String))
	case primitive(2):
		return normal(typeDNS, string(in.String))
	case constructed(3):
		return name{typ: typeX400}, true
	case constructed(4):
		subject, ok := in.inside(cbasn1.SEQUENCE)
		if !ok || !in.Empty() {
			return name{}, false
		}
		_, err := readRDNs(subject)
		return name{typ: typeDirectory}, err == nil
	case constructed(5):
		return name{typ: typeEDI}, true
	case primitive(6):
		return normal(typeURI, string(in.String))
	case primitive(7):
		ip, ok := netip.AddrFromSlice(in.String)
		return name{typeIP, ip.Unmap().String()}, ok
	case primitive(8):
		return name{typ: typeRegistered}, true
	}
	return name{}, false
}

// normal returns a name in the form that package san compares; false if the value is not
// of the type.
func normal(typ, value string) (name, bool) {
	n, err := san.Parse(typ + ":" + value)
	return name{typ, n.Value}, err == nil
}
