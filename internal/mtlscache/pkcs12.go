package mtlscache

import (
	"bytes"
	"crypto/x509"
	"errors"

	"software.sslmate.com/src/go-pkcs12"
)

// parsePKCS12 reads a PKCS#12 file and, if one is named, its password file.
func parsePKCS12(paths []string, content [][]byte) (*material, error) {
	var password string
	if len(content) > 1 {
		password = string(bytes.TrimRight(content[1], "\r\n"))
	}
	key, leaf, rest, err := pkcs12.DecodeChain(content[0], password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, unfinished(paths[0], "the password does not open it")
	case err != nil: // the text of a decoder may quote what it decodes
		return nil, unfinished(paths[0], "is not a PKCS#12 file (DER) of one key and its certificates")
	}
	return newMaterial(paths[0], chainOf(leaf, rest), paths[0], key)
}

// chainOf puts the intermediates behind the certificate that they vouch for:
// the order that TLS asks for, and that PKCS#12 does not keep. A self-signed
// root is left out, since who trusts it has it.
func chainOf(leaf *x509.Certificate, rest []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for range rest { // each can follow once, whatever circle they form
		last := chain[len(chain)-1]
		for _, cert := range rest {
			if bytes.Equal(cert.RawSubject, last.RawIssuer) && !bytes.Equal(cert.RawSubject, cert.RawIssuer) &&
				last.CheckSignatureFrom(cert) == nil {
				chain = append(chain, cert)
				break
			}
		}
	}
	return chain
}
