package mtlscache

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// parsePKCS12 reads a PKCS#12 file and, if one is named, its password file.
func parsePKCS12(paths []string, content [][]byte) (*material, error) {
	var password string
	if len(content) > 1 {
		var err error
		if password, err = passwordIn(paths[1], content[1]); err != nil {
			return nil, err
		}
	}
	c, err := decodePKCS12(content[0], password)
	unsupported, ok := errors.AsType[unsupportedError](err)
	switch {
	case err == nil:
	case bytes.Contains(content[0], []byte("-----BEGIN ")):
		return nil, unfinished(paths[0], "is PEM and not PKCS#12; name it as certificate file and as key file instead")
	case errors.Is(err, errPassword):
		return nil, unfinished(paths[0], "the password does not open it; write its password into the password file")
	case ok:
		return nil, unfinished(paths[0], fmt.Sprintf("%v; convert it with: openssl pkcs12 -in FILE -out PAIR.pem", unsupported))
	default: // the text of a decoder may quote what it decodes
		return nil, unfinished(paths[0], "is not a PKCS#12 file of a key and its certificates, or is damaged; check it with: openssl pkcs12 -noout -in FILE")
	}
	return newMaterial(paths[0], paths[0], c)
}

// decodePKCS12 returns the content of a PKCS#12 file in BER or DER. It returns
// errPassword, an unsupportedError, or another error, whose text must not be shown.
//
// The library reads most files directly. It refuses BER below the outermost level,
// several keys, other than one or two parts, and any certificate that Go refuses.
// decodePKCS12 takes such a file apart and puts each key into a new file in the form
// that the library accepts.
func decodePKCS12(ber []byte, password string) (*credentials, error) {
	pfx, err := toDER(ber)
	if err != nil {
		return nil, err
	}
	c := &credentials{}
	if err = c.decode(pfx, password); err == nil {
		return c, nil
	}
	// If the library does not support the MAC, no MAC is checked. A PEM file has none
	// either.
	if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return nil, errPassword
	}
	p, err := takeApart(pfx, password)
	if err != nil {
		return nil, err
	}
	bundles, err := p.bundles(password)
	if err != nil {
		return nil, err
	}
	c = &credentials{certs: p.certs, warnings: p.warnings}
	var failed error
	for _, pfx := range bundles {
		if err := c.decode(pfx, password); err != nil && failed == nil {
			failed = err
		}
	}
	switch {
	case len(c.keys) > 0:
		if failed != nil {
			c.warnings = append(c.warnings, "one of its parts is left out: it cannot be read")
		}
		return c, nil
	case errors.Is(failed, pkcs12.ErrDecryption):
		return nil, errPassword
	}
	return nil, failed
}

// decode adds the content of pfx, if the library can read it.
func (c *credentials) decode(pfx []byte, password string) error {
	key, first, others, err := pkcs12.DecodeChain(pfx, password)
	if err != nil {
		return err
	}
	c.keys = append(c.keys, key)
	for _, cert := range append([]*x509.Certificate{first}, others...) {
		c.add(cert)
	}
	return nil
}

// credentials are the keys and certificates of the files, in any order.
type credentials struct {
	keys     []crypto.PrivateKey
	certs    []*x509.Certificate
	warnings []string
}

// add adds a certificate that is not there yet.
func (c *credentials) add(cert *x509.Certificate) {
	for _, other := range c.certs {
		if other.Equal(cert) {
			return
		}
	}
	c.certs = append(c.certs, cert)
}
