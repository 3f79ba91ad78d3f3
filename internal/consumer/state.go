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

// stateName is the state file's name in its directory. Workers that share a directory
// share the file: a mark of any of them is as good as another.
const stateName = "entrust-worker-state.json"

// state is what a worker keeps across its own restart.
type state struct {
	Ledger   ledger.Mark      `json:"ledger"`
	Rollback control.Rollback `json:"rollback"`
}

// stateFile keeps a state in a directory. Without a directory it keeps nothing. Not safe
// for concurrent use.
type stateFile struct {
	dir  string
	last state
}

// errNotAState says that the file holds no state.
var errNotAState = errors.New("the state file cannot be read; a rollback of the bus while no worker ran goes unnoticed this time")

// load reads the state, the zero one where there is none or, with errNotAState, where it
// cannot be read. Any other error says that the directory cannot be written.
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

// save writes the state where it changed.
func (f *stateFile) save(s state) error {
	s.Rollback.At = time.Time{}
	if f.dir == "" || s == f.last {
		return nil
	}
	return f.write(s)
}

func (f *stateFile) path() string { return filepath.Join(f.dir, stateName) }

// write puts a whole file in the place of the one before.
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
