package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// document is one request as it would be published.
type document struct {
	source string
	kind   entrustbus.Kind // "" where it does not say
	body   []byte
}

// readDocuments reads requests from files, globs and "-". A file holds one request in
// MessagePack, requests in JSON one after the other, or certificate requests, each of which
// stands for the issue request that request issue would send.
func readDocuments(args []string, stdin io.Reader) ([]document, error) {
	all, err := paths(args)
	if err != nil {
		return nil, err
	}
	var found []document
	for _, path := range all {
		data, source, err := terminal.ReadInput(path, stdin, maxInput)
		if err != nil {
			return nil, err
		}
		text := bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(data), []byte("\ufeff")))
		if bytes.HasPrefix(text, []byte("{")) {
			found = append(found, jsonDocuments(source, data, text)...)
			continue
		}
		csrs, err := entrustbus.ReadCSRs(data)
		if err != nil {
			found = append(found, document{source: source, body: data})
			continue
		}
		for i, der := range csrs {
			name := source
			if len(csrs) > 1 {
				name = fmt.Sprintf("%s #%d", source, i+1)
			}
			// Not encoded as the client does: that refuses what is to be reported.
			body, err := json.Marshal(map[string]any{"id": "validate", "csr_pem": entrustbus.CSRPEM(der)})
			if err != nil {
				return nil, fmt.Errorf("encoding the request of %s: %w", name, err)
			}
			found = append(found, document{name, entrustbus.KindIssue, body})
		}
	}
	return found, nil
}

// jsonDocuments splits a file of JSON. What is no JSON is one document, and reported as such.
func jsonDocuments(source string, data, text []byte) []document {
	var found []document
	for in := json.NewDecoder(bytes.NewReader(text)); ; {
		var one json.RawMessage
		err := in.Decode(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return []document{{source: source, body: data}}
		}
		var says struct {
			Kind string `json:"kind"`
		}
		_ = json.Unmarshal(one, &says) // the contract says what is wrong with it
		found = append(found, document{fmt.Sprintf("%s #%d", source, len(found)+1), entrustbus.Kind(says.Kind), one})
	}
	if len(found) == 1 {
		found[0].source, found[0].body = source, data
	}
	return found
}

// paths reads globs; a name that is given twice counts once.
func paths(args []string) ([]string, error) {
	var all []string
	for _, arg := range args {
		matches := []string{arg}
		if _, err := os.Stat(arg); err != nil && strings.ContainsAny(arg, "*?[") {
			if matches, err = filepath.Glob(arg); err != nil {
				return nil, usage.Errorf("reading the glob %q: %w", arg, err)
			}
			if len(matches) == 0 {
				return nil, usage.WithHint(fmt.Errorf("no file matches %q", arg), "globs are relative to the working folder; ** does not match subfolders")
			}
		}
		for _, path := range matches {
			if !slices.Contains(all, path) {
				all = append(all, path)
			}
		}
	}
	return all, nil
}
