package entrustbus

import (
	"crypto/x509"
	"math/big"
	"regexp"
	"strings"
)

// serialLabel is what tools write in front of a serial number: openssl's serial=, and names of the field in any case.
var serialLabel = regexp.MustCompile(`^(?i)(certificate)?serial(number)?[:=]`)

// bothForms is how openssl prints a short serial number: 4711 (0x1267).
var bothForms = regexp.MustCompile(`^([0-9]+)\(0x([0-9a-fA-F]+)\)$`)

// plainSerial drops what tools put around and between the digits of a serial number: blanks, line ends, characters without
// a width, and the name of the field.
func plainSerial(s string) string {
	s = strings.Map(func(r rune) rune {
		if invisible(r) {
			return -1
		}
		return r
	}, s)
	return serialLabel.ReplaceAllString(s, "")
}

func serialFromHex(s string) (*big.Int, error) {
	if strings.Contains(s, pemBegin) {
		return nil, &FieldError{Field: "serial", Problem: "holds a PEM block", Fix: "give the certificate as certificate_pem"}
	}
	if len(s) > MaxCSRBytes {
		return nil, errSerial("serial", "is longer than 20 octets")
	}
	digits := plainSerial(s)
	if m := bothForms.FindStringSubmatch(digits); m != nil {
		return nil, &FieldError{Field: "serial", Problem: "holds both forms, decimal and hexadecimal", Fix: "give one: serial 0x" + bounded(m[2]) + ", or serial_decimal " + bounded(m[1])}
	}
	if strings.HasPrefix(digits, "-") {
		return nil, errSerial("serial", "is negative")
	}
	digits = strings.TrimPrefix(strings.TrimPrefix(digits, "0x"), "0X")
	for _, separator := range []string{":", "-"} {
		if !strings.Contains(digits, separator) {
			continue
		}
		for _, octet := range strings.Split(digits, separator) {
			if octet == "" {
				return nil, errSerial("serial", "has a separator that separates nothing")
			}
		}
		digits = strings.ReplaceAll(digits, separator, "")
	}
	n, err := parseSerial("serial", digits, 16)
	if err != nil && strings.Trim(digits, "0123456789") == "" && digits != "" {
		if _, decimal := parseSerial("serial", digits, 10); decimal == nil {
			err = &FieldError{Field: "serial", Problem: "is longer than 20 octets in hexadecimal", Fix: "it has decimal digits only: if it is decimal, give it as serial_decimal"}
		}
	}
	return n, err
}

func serialFromDecimal(s string) (*big.Int, error) {
	if len(s) > MaxCSRBytes {
		return nil, errSerial("serial_decimal", "is longer than 20 octets")
	}
	digits := plainSerial(s)
	n, err := parseSerial("serial_decimal", digits, 10)
	if err != nil {
		if _, hex := serialFromHex(digits); hex == nil && strings.Trim(digits, "0123456789") != "" {
			err = &FieldError{Field: "serial_decimal", Problem: "is not a decimal number", Fix: "it reads as hexadecimal: give it as serial"}
		}
	}
	return n, err
}

// bounded keeps a serial number that is quoted in an error short.
func bounded(digits string) string { return digits[:min(len(digits), 50)] }

func serialFromCertificate(text string) (*big.Int, error) {
	cert, err := parseCertificate("certificate_pem", text)
	if err != nil {
		return nil, err
	}
	return checkSerial("certificate_pem", cert.SerialNumber)
}

// parseCertificate reads the one certificate of a request.
func parseCertificate(field, text string) (*x509.Certificate, error) {
	der, err := certificateThing.one(field, []byte(text))
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		// Not the parser's own text: it may quote the certificate.
		return nil, &FieldError{Field: field, Problem: "is not a certificate that can be parsed"}
	}
	return cert, nil
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
