package gatewaytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// spec is the requested content of a certificate. It is packed (see pack) from the
// enrollment on, so that a pending order costs little memory.
type spec struct {
	spki     []byte    // DER SubjectPublicKeyInfo
	subject  []byte    // DER name
	altNames []byte    // value of the subjectAltName extension; nil: none
	start    time.Time // zero: when it is signed; whole seconds
	validity time.Duration
	// extensions are the requested ones, DER, one after the other. They replace the default ones.
	extensions []byte
}

// signer makes certificates from specs. It does not use x509.CreateCertificate, which verifies
// its own signature at four times the cost of signing. Safe for concurrent use.
type signer struct {
	pki       *pki
	algorithm []byte // DER AlgorithmIdentifier ecdsa-with-SHA256
	authKey   []byte // authorityKeyIdentifier extension of the issuing CA
}

func newSigner(p *pki) (*signer, error) {
	var alg cryptobyte.Builder
	alg.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
	})
	var aki cryptobyte.Builder
	addExtension(&aki, asn1.ObjectIdentifier{2, 5, 29, 35}, false, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) {
				b.AddBytes(p.issuing.cert.SubjectKeyId)
			})
		})
	})
	algorithm, err1 := alg.Bytes()
	authKey, err2 := aki.Bytes()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("encoding signer's constants: %w", err)
	}
	return &signer{pki: p, algorithm: algorithm, authKey: authKey}, nil
}

// sign returns the certificate for s in DER, with the flaw f.
func (g *signer) sign(s spec, serial []byte, f flaw, now time.Time) ([]byte, error) {
	issuer := g.pki.issuing
	notBefore := now.Truncate(time.Second)
	if !s.start.IsZero() {
		notBefore = s.start
	}
	notAfter := notBefore.Add(s.validity)
	switch f {
	case flawKey:
		s.spki = g.pki.decoy
	case flawNames:
		wrong, err := encodeAltNames([]altName{{Type: "dNSName", Value: "wrong.example.net"}})
		if err != nil {
			return nil, err
		}
		s.altNames = wrong
	case flawExpired:
		notBefore, notAfter = now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1)
	case flawSigner:
		issuer = g.pki.stray
	}

	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1Int64(2)
		})
		b.AddASN1BigInt(new(big.Int).SetBytes(serial))
		b.AddBytes(g.algorithm)
		b.AddBytes(issuer.cert.RawSubject)
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, notBefore)
			addTime(b, notAfter)
		})
		b.AddBytes(s.subject)
		b.AddBytes(s.spki)
		b.AddASN1(cryptobyteasn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { g.addExtensions(b, s) })
		})
	})
	tbs, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding certificate: %w", err)
	}
	digest := sha256.Sum256(tbs)
	sig, err := ecdsa.SignASN1(rand.Reader, issuer.key, digest[:])
	if err != nil {
		return nil, fmt.Errorf("signing certificate: %w", err)
	}
	var out cryptobyte.Builder
	out.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(g.algorithm)
		b.AddASN1BitString(sig)
	})
	return out.Bytes()
}

func (g *signer) addExtensions(b *cryptobyte.Builder, s spec) {
	b.AddBytes(g.authKey)
	asked := extensionIDs(s.extensions)
	usual := func(oid asn1.ObjectIdentifier, critical bool, value func(*cryptobyte.Builder)) {
		if !asked[oid.String()] {
			addExtension(b, oid, critical, value)
		}
	}
	usual(asn1.ObjectIdentifier{2, 5, 29, 14}, false, func(b *cryptobyte.Builder) {
		id := sha256.Sum256(s.spki)
		b.AddASN1OctetString(id[:20])
	})
	usual(asn1.ObjectIdentifier{2, 5, 29, 15}, true, func(b *cryptobyte.Builder) {
		// digitalSignature and keyEncipherment.
		b.AddASN1(cryptobyteasn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes([]byte{5, 0xa0}) })
	})
	usual(asn1.ObjectIdentifier{2, 5, 29, 19}, true, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(*cryptobyte.Builder) {})
	})
	if !asked["2.5.29.19"] { // a CA's certificate has no extended key usages
		usual(asn1.ObjectIdentifier{2, 5, 29, 37}, false, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1})
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2})
			})
		})
	}
	if len(s.altNames) > 0 {
		emptySubject := bytes.Equal(s.subject, []byte{0x30, 0})
		usual(oidAltNames(), emptySubject, func(b *cryptobyte.Builder) { b.AddBytes(s.altNames) })
	}
	b.AddBytes(s.extensions)
}

func oidAltNames() asn1.ObjectIdentifier { return san.Extension() }

func addExtension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, critical bool, value func(*cryptobyte.Builder)) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(cryptobyteasn1.OCTET_STRING, value)
	})
}

// addTime encodes t by RFC 5280, 4.1.2.5: UTCTime up to 2049.
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC()
	if y := t.Year(); y >= 1950 && y < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}
