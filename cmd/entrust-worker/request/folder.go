package request

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// fileNames says what the certificate of each certificate request is called, less the
// ending: as the file that it was read from, where that holds no other and no other file is
// called so, else "" for its id.
func fileNames(csrs []csr) []string {
	held, called := map[string]int{}, map[string]int{}
	base := func(c csr) string {
		if !c.file {
			return ""
		}
		name := filepath.Base(c.source)
		return strings.TrimSuffix(name, filepath.Ext(name))
	}
	for _, c := range csrs {
		held[c.source]++
		called[strings.ToLower(base(c))]++ // some file systems hold them for the same
	}
	names := make([]string, len(csrs))
	for i, c := range csrs {
		if b := base(c); held[c.source] == 1 && called[strings.ToLower(b)] == 1 {
			names[i] = b
		}
	}
	return names
}

// paths are the files of a certificate and its chain.
func (s *sender) paths(p *parcel) (cert, chain string) {
	name := p.file
	if name == "" {
		name = p.request.OrderID()
	}
	return filepath.Join(s.how.out, name+".pem"), filepath.Join(s.how.out, name+".chain.pem")
}

// prepareOut makes the folder for certificates before anything is published, and refuses to
// write over what is no certificate: names may be those of files with keys.
func (s *sender) prepareOut() error {
	if s.how.out == "" {
		return nil
	}
	if err := os.MkdirAll(s.how.out, 0o755); err != nil {
		return fmt.Errorf("making the folder for certificates: %w", err)
	}
	for _, p := range s.parcels {
		cert, chain := s.paths(p)
		for _, path := range []string{cert, chain} {
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("checking a file before it is overwritten: %w", err)
			}
			if block, _ := pem.Decode(text); len(bytes.TrimSpace(text)) > 0 && (block == nil || block.Type != "CERTIFICATE") {
				return usage.WithHint(fmt.Errorf("%s exists and is not a certificate", path), "choose another folder with --out, or another name with --id")
			}
		}
	}
	return nil
}

// keep writes the certificates of a result, and returns where. A reader of the folder never
// sees half a file.
func (s *sender) keep(p *parcel) (string, error) {
	if s.how.out == "" {
		return "", nil
	}
	cert, chain := s.paths(p)
	written := ""
	for _, f := range []struct{ path, text string }{{chain, p.result.ChainPEM}, {cert, p.result.CertificatePEM}} {
		if f.text == "" {
			continue
		}
		if err := os.WriteFile(f.path+".part", []byte(f.text), 0o644); err != nil {
			return "", fmt.Errorf("writing a certificate: %w", err)
		}
		if err := os.Rename(f.path+".part", f.path); err != nil {
			return "", fmt.Errorf("writing a certificate: %w", err)
		}
		written = f.path
	}
	return written, nil
}
