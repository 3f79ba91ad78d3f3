package entrustbus

import (
	"crypto/x509"
	"math/big"
	"strings"
)

func serialFromHex(s string) (*big.Int, error) {
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	if strings.Contains(digits, ":") {
		for octet := range strings.SplitSeq(digits, ":") {
			if octet == "" {
				return nil, errSerial("serial", "has a colon that separates nothing")
			}
		}
		digits = strings.ReplaceAll(digits, ":", "")
	}
	return parseSerial("serial", digits, 16)
}

func serialFromDecimal(s string) (*big.Int, error) { return parseSerial("serial_decimal", s, 10) }

func serialFromCertificate(text string) (*big.Int, error) {
	der, err := onePEM("certificate_pem", text, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		// Not the parser's own text: it may quote the certificate.
		return nil, errSerial("certificate_pem", "is no certificate that can be parsed")
	}
	return checkSerial("certificate_pem", cert.SerialNumber)
}

func parseSerial(field, digits string, base int) (*big.Int, error) {
	if len(digits) > 0 && digits[0] == '-' {
		return nil, errSerial(field, "is negative")
	}
	for i := range len(digits) {
		c := digits[i] | 0x20 // letters in lower case; digits have that bit
		if !('0' <= digits[i] && digits[i] <= '9' || base == 16 && 'a' <= c && c <= 'f') {
			return nil, errSerial(field, map[int]string{10: "is not a decimal number", 16: "is not a hexadecimal number"}[base])
		}
	}
	trimmed := strings.TrimLeft(digits, "0")
	if len(trimmed) > MaxSerialBits/3 { // more digits than any base needs: not worth the arithmetic
		return nil, errSerial(field, "is longer than 20 octets")
	}
	n, ok := new(big.Int).SetString(trimmed, base)
	if !ok {
		return nil, errSerial(field, "is zero or has no digits")
	}
	return checkSerial(field, n)
}

func checkSerial(field string, n *big.Int) (*big.Int, error) {
	if n.Sign() <= 0 {
		return nil, errSerial(field, "is not a positive serial number")
	}
	if n.BitLen() > MaxSerialBits {
		return nil, errSerial(field, "is longer than 20 octets")
	}
	return n, nil
}

func errSerial(field, problem string) *FieldError { return &FieldError{Field: field, Problem: problem} }
