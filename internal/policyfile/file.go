// Package policyfile loads a worker's policy from its file, and loads it again when the
// file changes. Package policy defines the content of the file.
package policyfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// every is the interval between two reads of the file. Each read reads the whole file: if
// a link replaces the file, as in Kubernetes, neither its time nor its inode shows each
// change.
const every = 5 * time.Second

// File is a policy file and the policy in force. Make one with Open. It is safe for
// concurrent use.
type File struct {
	path      string
	ledgerAge time.Duration
	log       *slog.Logger
	inForce   atomic.Pointer[policy.Policy]
	rejected  atomic.Bool

	mu       sync.Mutex // held during one read of the file
	reported string     // logged reason why the current file is not in force
}

// Open reads a policy file like Read. The error says what is wrong with the file.
func Open(path string, ledgerAge time.Duration, log *slog.Logger) (*File, error) {
	p, err := Read(path, ledgerAge)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, ledgerAge: ledgerAge, log: log}
	f.inForce.Store(p)
	return f, nil
}

// Read reads a policy file once. ledgerAge is how long the ledger keeps a record; it must
// exceed the time for which a signature can be used.
func Read(path string, ledgerAge time.Duration) (*policy.Policy, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, policy.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the policy file: %w", err)
	}
	p, err := policy.Parse(data)
	if err == nil {
		err = p.CheckWindows(ledgerAge)
	}
	if err != nil {
		return nil, fmt.Errorf("policy file %s: %w", path, err)
	}
	return p, nil
}

// Policy returns the policy in force, never nil.
func (f *File) Policy() *policy.Policy { return f.inForce.Load() }

// Rejected reports whether the file, as last read, is not in force because it is missing
// or invalid.
func (f *File) Rejected() bool { return f.rejected.Load() }

// Look reads the file now. A changed policy is in force from then on. If the file is
// missing or invalid, the policy before it stays in force, and Look logs each reason
// once.
func (f *File) Look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.Policy()
	p, err := Read(f.path, f.ledgerAge)
	f.rejected.Store(err != nil)
	switch {
	case err != nil && err.Error() == f.reported:
	case err != nil:
		f.log.Error("the policy file cannot be used; the policy before it stays in force", "policy", Name(was), "err", err)
		f.reported = err.Error()
		return
	case p.Digest() != was.Digest():
		f.inForce.Store(p)
		f.log.Info("the policy changed", "policy", Name(p), "before", Name(was), "producers", len(p.Producers()))
		f.reported = ""
	case f.reported != "":
		f.log.Info("the policy file can be used again; it holds the policy that is in force", "policy", Name(p))
		f.reported = ""
	}
}

// Run calls Look every 5 s until ctx ends.
func (f *File) Run(ctx context.Context) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f.Look()
		}
	}
}

// Name returns the name of a policy in logs: the first half of its digest, in
// hexadecimal.
func Name(p *policy.Policy) string {
	digest := p.Digest()
	return hex.EncodeToString(digest[:sha256.Size/2])
}
