package keys

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/keys"
)

// maxInput bounds what is read of a file: a hundred thousand hashes.
const maxInput = 8 << 20

// hashesOf reads the keys that arguments name, each once.
func hashesOf(args []string, t *terminal.Terminal) ([]string, error) {
	var all []string
	seen := map[string]bool{}
	for _, arg := range args {
		found := []string{strings.ToLower(arg)}
		if !keys.ValidHash(found[0]) {
			data, _, err := terminal.ReadInput(arg, t.In, maxInput)
			if err != nil {
				return nil, err
			}
			if found, err = hashesIn(data); err != nil {
				return nil, usage.WithHint(fmt.Errorf("%s: %w", arg, err), "give a certificate request, a certificate, or a list of SHA-256 hashes of SubjectPublicKeyInfo, one a line")
			}
		}
		for _, hash := range found {
			if !seen[hash] {
				seen[hash] = true
				all = append(all, hash)
			}
		}
	}
	return all, nil
}

// hashesIn reads a list of hashes, or the key of one certificate or certificate request.
// An operator who gives a chain means its first certificate only, and has to say so.
func hashesIn(data []byte) ([]string, error) {
	if list := listIn(data); list != nil {
		return list, nil
	}
	if found, err := entrustbus.ReadCertificates(data); err == nil {
		if cert, err := x509.ParseCertificate(found[0]); err == nil {
			if len(found) > 1 {
				return nil, fmt.Errorf("it holds %d certificates; give only the certificate of the key", len(found))
			}
			return []string{keys.Hash(cert.RawSubjectPublicKeyInfo)}, nil
		}
	}
	found, err := entrustbus.ReadCSRs(data)
	if err != nil {
		return nil, errors.New("it is not a certificate request, a certificate or a list of hashes")
	}
	var all []string
	for _, der := range found {
		csr, err := (&entrustbus.Issue{CSRDER: der}).CSR()
		if err != nil {
			return nil, fmt.Errorf("reading a certificate request: %w", err)
		}
		all = append(all, keys.Hash(csr.Request.RawSubjectPublicKeyInfo))
	}
	return all, nil
}

// listIn reads hashes, one a line, as sha256sum writes them too: what follows a blank, and
// lines that begin with #, are passed over. It returns nil where a line holds something else.
func listIn(data []byte) []string {
	var all []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		hash := strings.ToLower(fields[0])
		if !keys.ValidHash(hash) {
			return nil
		}
		all = append(all, hash)
	}
	return all
}
