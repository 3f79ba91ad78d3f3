package renew

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/request"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/renewal"
)

// readCSRs reads the certificate requests of files and globs.
func readCSRs(names []string, stdin io.Reader) ([]renewal.CSR, error) {
	texts, err := request.ReadCSRs(names, stdin)
	if err != nil {
		return nil, err
	}
	all := make([]renewal.CSR, len(texts))
	for i, text := range texts {
		if all[i], err = renewal.ReadCSR(text); err != nil {
			return nil, fmt.Errorf("certificate request %d of --csr: %w", i+1, err)
		}
	}
	return all, nil
}

// write writes a request where the flags say, and returns its file.
func (r *renew) write(producer string, issue *entrustbus.Issue) (string, error) {
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, issue)
	if err != nil {
		return "", fmt.Errorf("encoding the request %s: %w", issue.ID, err)
	}
	body = append(body, '\n')
	if r.ndjson {
		_, err := r.terminal.Out.Write(body)
		return "", err
	}
	folder := filepath.Join(r.folder, producer)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("making the folder for requests: %w", err)
	}
	path := filepath.Join(folder, issue.ID+".json")
	if err := os.WriteFile(path, body, 0o644); err != nil {
		return "", fmt.Errorf("writing a request: %w", err)
	}
	return path, nil
}
