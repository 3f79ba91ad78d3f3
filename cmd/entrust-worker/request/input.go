package request

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// readCSRs reads the certificate requests of files, globs and "-", standard input.
func readCSRs(args []string, stdin io.Reader) ([]csr, error) {
	var all []csr
	var paths []string
	for _, arg := range args {
		matches := []string{arg}
		if _, err := os.Stat(arg); err != nil && strings.ContainsAny(arg, "*?[") {
			if matches, err = filepath.Glob(arg); err != nil {
				return nil, usage.Errorf("reading the glob %q: %w", arg, err)
			}
			if len(matches) == 0 {
				return nil, usage.WithHint(fmt.Errorf("no file matches %q", arg), "it is read relative to the working folder; ** does not reach into subfolders")
			}
		}
		for _, path := range matches {
			if slices.Contains(paths, path) {
				continue // two globs met
			}
			paths = append(paths, path)
			found, err := readCSRFile(path, stdin)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

func readCSRFile(path string, stdin io.Reader) ([]csr, error) {
	data, source, err := readInput(path, stdin)
	if err != nil {
		return nil, err
	}
	var found []csr
	other := ""
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
			found = append(found, csr{source, requestPEM(block.Bytes), path != "-"})
		default:
			other = block.Type
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case other != "":
		return nil, usage.WithHint(fmt.Errorf("%s: holds a %s, not a certificate request", source, other), "openssl req -new -key KEY makes a certificate request")
	}
	if _, err := x509.ParseCertificateRequest(data); err != nil {
		return nil, usage.WithHint(fmt.Errorf("%s: not a certificate request in PEM or DER", source), "openssl req -noout -verify -in %s", source)
	}
	return []csr{{source, requestPEM(data), path != "-"}}, nil
}

func requestPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// maxInput bounds what is read of one file: many certificate requests, and no disk image.
const maxInput = 64 << 20

// readInput reads a file, or standard input for "-", and says what it is called.
func readInput(path string, stdin io.Reader) (data []byte, source string, err error) {
	if path == "-" {
		if terminal.Is(stdin) {
			return nil, "", usage.WithHint(usage.Errorf("standard input is a terminal"), "pipe a certificate request into it, or name a file")
		}
		data, err = io.ReadAll(io.LimitReader(stdin, maxInput+1))
		source = "standard input"
	} else {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			data, err = io.ReadAll(io.LimitReader(f, maxInput+1))
			_ = f.Close() // only read
		}
		source = path
	}
	switch {
	case err != nil:
		if file, ok := errors.AsType[*fs.PathError](err); ok {
			err = file.Err // the message has the path
		}
		err = fmt.Errorf("reading %s: %w", source, err)
		if errors.Is(err, fs.ErrNotExist) {
			err = usage.WithHint(err, "names are relative to the working folder; - is standard input")
		}
		return nil, "", err
	case len(data) > maxInput:
		return nil, "", fmt.Errorf("reading %s: larger than %d MiB", source, maxInput>>20)
	}
	return data, source, nil
}

// readCertificate reads one certificate, PEM or DER, as PEM.
func readCertificate(path string, stdin io.Reader) (string, error) {
	data, source, err := readInput(path, stdin)
	if err != nil {
		return "", err
	}
	der := data
	for rest := data; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		if rest = after; block.Type == "CERTIFICATE" {
			der = block.Bytes // the first of a chain is the end entity's
			break
		}
	}
	if _, err := x509.ParseCertificate(der); err != nil || len(der) > entrustbus.MaxCSRBytes {
		return "", usage.WithHint(fmt.Errorf("%s: not a certificate in PEM or DER", source), "openssl x509 -noout -text -in %s", source)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}
