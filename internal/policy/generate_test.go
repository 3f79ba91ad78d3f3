package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// part writes some DER.
type part func(*cryptobyte.Builder)

func seq(parts ...part) part { return tagged(cbasn1.SEQUENCE, parts...) }
func set1(parts ...part) part {
	return tagged(cbasn1.SET, parts...)
}

func tagged(tag cbasn1.Tag, parts ...part) part {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) {
			for _, p := range parts {
				p(b)
			}
		})
	}
}

func bytesOf(s string) part { return func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) } }

func oid(text string) part {
	var id asn1.ObjectIdentifier
	for n := range strings.SplitSeq(text, ".") {
		v, _ := strconv.Atoi(n)
		id = append(id, v)
	}
	return func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(id) }
}

func str(tag cbasn1.Tag, value string) part { return tagged(tag, bytesOf(value)) }

func utf8String(value string) part { return str(cbasn1.UTF8String, value) }

// bmp writes text as a BMPString.
func bmp(text string) part {
	var b strings.Builder
	for _, r := range text {
		b.WriteByte(byte(r >> 8))
		b.WriteByte(byte(r))
	}
	return str(bmpString, b.String())
}

// rdn returns one part of a subject, with one attribute for each pair.
func rdn(pairs ...part) part { return set1(pairs...) }

func attr(id string, value part) part { return seq(oid(id), value) }

func cn(value string) part { return rdn(attr(oidCommonName, utf8String(value))) }

// Names of a subjectAltName.
func dns(v string) part   { return str(cbasn1.Tag(2).ContextSpecific(), v) }
func email(v string) part { return str(cbasn1.Tag(1).ContextSpecific(), v) }
func uri(v string) part   { return str(cbasn1.Tag(6).ContextSpecific(), v) }
func ip(v string) part    { return str(cbasn1.Tag(7).ContextSpecific(), v) }
func explicit(n cbasn1.Tag, parts ...part) part {
	return tagged(n.ContextSpecific().Constructed(), parts...)
}

func der(p part) string {
	b := cryptobyte.NewBuilder(nil)
	p(b)
	return string(b.BytesOrPanic())
}

// ext returns one extension with its value.
func ext(id string, value part) part { return seq(oid(id), str(cbasn1.OCTET_STRING, der(value))) }

func critical(id string, value part) part {
	return seq(oid(id), func(b *cryptobyte.Builder) { b.AddASN1Boolean(true) }, str(cbasn1.OCTET_STRING, der(value)))
}

func altNames(names ...part) part { return ext(oidAltName, seq(names...)) }

// asks returns the attribute that requests extensions.
func asks(extensions ...part) part {
	return seq(oid(oidExtensionRequest), set1(seq(extensions...)))
}

var testKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// request writes a certificate request, signed by its own key.
func request(tb testing.TB, subject []part, attributes ...part) []byte {
	tb.Helper()
	spki, err := x509.MarshalPKIXPublicKey(testKey().Public())
	if err != nil {
		tb.Fatal(err)
	}
	return sign(tb, der(seq(
		func(b *cryptobyte.Builder) { b.AddASN1Int64(0) },
		seq(subject...),
		bytesOf(string(spki)),
		explicit(0, attributes...),
	)))
}

// sign makes a certificate request from its information.
func sign(tb testing.TB, info string) []byte {
	tb.Helper()
	sum := sha256.Sum256([]byte(info))
	signature, err := ecdsa.SignASN1(rand.Reader, testKey(), sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return []byte(der(seq(
		bytesOf(info),
		seq(oid("1.2.840.10045.4.3.2")),
		func(b *cryptobyte.Builder) { b.AddASN1BitString(signature) },
	)))
}
