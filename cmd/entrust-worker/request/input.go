package request

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// csr is one certificate request and where it was read.
type csr struct {
	source, pem string
	file        bool // source is the path of a file
}

// ReadCSRs reads the certificate requests of files, globs and "-", standard input, as PEM.
func ReadCSRs(args []string, stdin io.Reader) ([]string, error) {
	all, err := readCSRs(args, stdin)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = all[i].pem
	}
	return texts, nil
}

// readCSRs reads the certificate requests of files, globs and "-", standard input.
func readCSRs(args []string, stdin io.Reader) ([]csr, error) {
	names, err := paths(args)
	if err != nil {
		return nil, err
	}
	var all []csr
	for _, path := range names {
		found, err := readCSRFile(path, stdin)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func readCSRFile(path string, stdin io.Reader) ([]csr, error) {
	data, source, err := terminal.ReadInput(path, stdin, maxInput)
	if err != nil {
		return nil, err
	}
	der, err := entrustbus.ReadCSRs(data)
	if err != nil {
		return nil, explainFile(source, err, "openssl req -noout -verify -in %s")
	}
	found := make([]csr, len(der))
	for i := range der {
		found[i] = csr{source, entrustbus.CSRPEM(der[i]), path != "-"}
	}
	return found, nil
}

// explainFile says what is wrong with the content of a file, and which command shows it.
func explainFile(source string, err error, command string) error {
	if field, ok := errors.AsType[*entrustbus.FieldError](err); ok {
		err = errors.New(strings.TrimPrefix(field.Problem, "is "))
	}
	return usage.WithHint(fmt.Errorf("%s: %w", source, err), command, source)
}

// maxInput bounds what is read of one file: many certificate requests, and no disk image.
const maxInput = 64 << 20

// ReadCertificate reads one certificate, PEM or DER, as PEM. "-" is standard input. Of a chain it takes the
// first, the end entity's.
func ReadCertificate(path string, stdin io.Reader) (string, error) {
	data, source, err := terminal.ReadInput(path, stdin, maxInput)
	if err != nil {
		return "", err
	}
	all, err := entrustbus.ReadCertificates(data)
	if err != nil {
		return "", explainFile(source, err, "openssl x509 -noout -text -in %s")
	}
	der := all[0] // the first of a chain is the end entity's
	if _, err := x509.ParseCertificate(der); err != nil || len(der) > entrustbus.MaxCSRBytes {
		return "", explainFile(source, errors.New("the certificate cannot be parsed"), "openssl x509 -noout -text -in %s")
	}
	return entrustbus.CertificatePEM(der), nil
}
