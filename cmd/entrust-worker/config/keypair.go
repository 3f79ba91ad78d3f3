package config

import (
	"errors"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// ExplainKeyPair says what is wrong with the client's key pair by its keys instead of by
// the paths, which may be credentials. Other errors it returns as they are.
func (s *Settings) ExplainKeyPair(err error) error {
	pair, ok := errors.AsType[*mtlscache.KeyPairError](err)
	if !ok {
		return err
	}
	for key, path := range map[string]Secret{
		"gateway.client_key_path":          s.Gateway.ClientKeyPath,
		"gateway.client_key_password_file": s.Gateway.KeyPasswordFile,
		"gateway.client_p12_path":          s.Gateway.ClientP12Path,
		"gateway.client_p12_password_file": s.Gateway.P12PasswordFile,
	} {
		if path == "" || pair.Path != path.Reveal() {
			continue
		}
		problem := "names a file that cannot be used: " + pair.Problem
		if pair.Err != nil {
			problem += ": " + FileProblem(pair.Err)
		}
		return &FieldError{Key: key, Problem: problem, From: []string{s.Origin(key)}}
	}
	return err
}
