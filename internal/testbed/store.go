package testbed

import (
	"fmt"
	"os"
	"path/filepath"
)

// CopyStore copies the server's files to a directory that does not exist yet. The server
// must be stopped, killed or frozen: then the files contain everything that it
// acknowledged.
func (s *Server) CopyStore(to string) error {
	if err := os.CopyFS(to, os.DirFS(s.store())); err != nil {
		return fmt.Errorf("copying the store of nats-server %q: %w", s.Name, err)
	}
	return nil
}

// PutStore replaces the server's store by a copy from CopyStore. The server must not run.
func (s *Server) PutStore(from string) error {
	err := os.RemoveAll(s.store())
	if err == nil {
		err = os.CopyFS(s.store(), os.DirFS(from))
	}
	if err != nil {
		return fmt.Errorf("putting back the store of nats-server %q: %w", s.Name, err)
	}
	return nil
}

func (s *Server) store() string { return filepath.Join(filepath.Dir(s.conf), "store") }
