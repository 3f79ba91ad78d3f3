package mtlscache

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// parsePEM reads a certificate file, a key file and, if one is named, the file of
// the key's password.
func parsePEM(paths []string, content [][]byte) (*material, error) {
	certs, warnings, err := certificates(paths[0], content[0])
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 {
		return nil, unfinished(paths[0], because("holds no PEM certificate that can be used; write the client certificate into it", warnings))
	}
	var password *string
	if len(paths) > 2 {
		text, err := passwordIn(paths[2], content[2])
		if err != nil {
			return nil, err
		}
		password = &text
	}
	keys, err := privateKeys(paths[1], content[1], password)
	if err != nil {
		return nil, err
	}
	return newMaterial(paths[0], paths[1], &credentials{keys: keys, certs: certs, warnings: warnings})
}

// certificates returns the certificates of a PEM file, and a warning for each
// that Go refuses. It skips other blocks, so that the same file may hold the key.
func certificates(path string, content []byte) (certs []*x509.Certificate, warnings []string, err error) {
	blocks, broken, err := blocksOf(path, content)
	if err != nil {
		return nil, nil, err
	}
	if broken > 0 {
		warnings = append(warnings, fmt.Sprintf("broken PEM blocks are left out: %d; write the file again", broken))
	}
	n := 0
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			continue
		}
		n++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			warnings = append(warnings, refusal(n, err))
			continue
		}
		certs = append(certs, cert)
	}
	return certs, warnings, nil
}

// privateKeys returns the private keys of a PEM file, at least one. A nil password
// means that there is none. It does not wrap parse errors, which may quote the key.
func privateKeys(path string, content []byte, password *string) ([]crypto.PrivateKey, error) {
	blocks, _, err := blocksOf(path, content)
	if err != nil {
		return nil, err
	}
	var keys []crypto.PrivateKey
	for _, block := range blocks {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") { // such as EC PARAMETERS
			continue
		}
		if block.Headers["DEK-Info"] != "" {
			return nil, unfinished(path, "holds a key encrypted in the old way of OpenSSL (Proc-Type: 4,ENCRYPTED); convert it with: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW")
		}
		der := block.Bytes
		if block.Type == "ENCRYPTED PRIVATE KEY" {
			if der, err = decryptKey(path, der, password); err != nil {
				return nil, err
			}
		}
		key, err := parseKey(der)
		if err != nil {
			return nil, unfinished(path, "holds a private key that is malformed or of an unknown kind; check it with: openssl pkey -noout -in FILE")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, unfinished(path, "holds no PEM private key; write the key of the client certificate into it")
	}
	return keys, nil
}

// decryptKey decrypts a PKCS#8 key.
func decryptKey(path string, ber []byte, password *string) ([]byte, error) {
	if password == nil {
		return nil, unfinished(path, "holds an encrypted key; name the file of its password, or decrypt it with: openssl pkey -in FILE -out NEW")
	}
	var key encryptedKey
	err := unmarshalBER(ber, &key)
	if err == nil && !key.Algorithm.Algorithm.Equal(oidPBES2) {
		err = unsupportedError{"encryption " + key.Algorithm.Algorithm.String()}
	}
	var der []byte
	if err == nil {
		der, err = decryptPBES2(key.Algorithm, key.Content, *password)
	}
	unsupported, ok := errors.AsType[unsupportedError](err)
	switch {
	case err == nil:
		return der, nil
	case errors.Is(err, errPassword):
		return nil, unfinished(path, "the password does not open its key; write the key's password into the password file")
	case ok:
		return nil, unfinished(path, fmt.Sprintf("%v; convert it with: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW", unsupported))
	}
	return nil, unfinished(path, "holds an encrypted key that is damaged; check it with: openssl pkey -noout -in FILE")
}

// parseKey reads a private key in PKCS#8, PKCS#1 or SEC 1.
func parseKey(der []byte) (crypto.PrivateKey, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParseECPrivateKey(der)
}

// blocksOf returns the blocks of a PEM file, and the number of broken blocks that it
// left out. It returns an error if the last block is broken: the file may still be
// written, and the client would send a chain without its end.
func blocksOf(path string, content []byte) (blocks []*pem.Block, broken int, err error) {
	const begin = "-----BEGIN "
	rest := text(content)
	begun := bytes.Count(rest, []byte(begin))
	for {
		block, behind := pem.Decode(rest)
		if block == nil {
			break
		}
		blocks, rest = append(blocks, block), behind
	}
	if bytes.Contains(rest, []byte(begin)) {
		return nil, 0, unfinished(path, "ends inside a PEM block, or its last one is broken; write the file again")
	}
	return blocks, begun - len(blocks), nil
}
