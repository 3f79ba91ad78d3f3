// Package policyfile keeps the policy of a worker in step with its file. What the file
// says, package policy knows.
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

// every is the pause between two looks at the file. It is read whole: a file that is
// replaced by a link, as Kubernetes does, keeps neither its time nor its inode in step.
const every = 5 * time.Second

// File is a policy file and the policy in force. Make one with Open. It is safe for
// concurrent use.
type File struct {
	path      string
	ledgerAge time.Duration
	log       *slog.Logger
	inForce   atomic.Pointer[policy.Policy]
	rejected  atomic.Bool

	mu       sync.Mutex // one look at a time
	reported string     // why the file as it is now is not in force, as it was logged
}

// Open reads a policy file, as Read does. The error says what is wrong with it.
func Open(path string, ledgerAge time.Duration, log *slog.Logger) (*File, error) {
	p, err := Read(path, ledgerAge)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, ledgerAge: ledgerAge, log: log}
	f.inForce.Store(p)
	return f, nil
}

// Read reads a policy file once. The ledger remembers an order for ledgerAge: longer than a
// signature may be used.
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

// Policy is the policy in force, never nil.
func (f *File) Policy() *policy.Policy { return f.inForce.Load() }

// Rejected reports whether the file, as it was read last, is not in force: it is missing,
// or cannot be read as a policy.
func (f *File) Rejected() bool { return f.rejected.Load() }

// Look reads the file now. A policy that changed is in force from here on. A file that is
// missing or wrong leaves the one before in force, and the log says so, once for each
// reason.
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

// Run looks at the file again and again until ctx is done.
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

// Name is how logs name a policy: the first half of its digest, in hexadecimal.
func Name(p *policy.Policy) string {
	digest := p.Digest()
	return hex.EncodeToString(digest[:sha256.Size/2])
}
