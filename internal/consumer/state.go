package consumer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// stateName is the name of the state file in its directory. Workers that share a directory
// share the file: the mark of any of them will do.
const stateName = "entrust-worker-state.json"

// state is what a worker keeps across its own restart.
type state struct {
	Ledger   ledger.Mark      `json:"ledger"`
	Rollback control.Rollback `json:"rollback"`
}

// stateFile keeps a state in a directory; without a directory it keeps nothing. It is not safe
// for concurrent use.
type stateFile struct {
	dir  string
	last state
}

// errNotAState says that the file cannot be read.
var errNotAState = errors.New("the state file cannot be read; a rollback of the bus while no worker ran is not noticed")

// load reads the state. It returns the zero state when there is no file, and with errNotAState
// when the file cannot be read. Any other error says that the directory cannot be written.
func (f *stateFile) load() (state, error) {
	if f.dir == "" {
		return state{}, nil
	}
	data, err := os.ReadFile(f.path())
	var s state
	var damaged error
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		damaged = fmt.Errorf("%w: %w", errNotAState, err)
	default:
		if err := json.Unmarshal(data, &s); err != nil {
			s, damaged = state{}, fmt.Errorf("%w: %s: %w", errNotAState, f.path(), err)
		}
	}
	if err := f.write(s); err != nil {
		return state{}, err
	}
	return s, damaged
}

// save writes the state if it changed.
func (f *stateFile) save(s state) error {
	s.Rollback.At = time.Time{}
	if f.dir == "" || s == f.last {
		return nil
	}
	return f.write(s)
}

func (f *stateFile) path() string { return filepath.Join(f.dir, stateName) }

// write replaces the file as a whole, so that a crash leaves the old or the new one.
func (f *stateFile) write(s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding the state of this worker: %w", err)
	}
	tmp, err := os.CreateTemp(f.dir, stateName+".*")
	if err != nil {
		return fmt.Errorf("writing the state file in state_dir: %w", err)
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path())
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("writing the state file in state_dir: %w", err)
	}
	f.last = s
	return nil
}
