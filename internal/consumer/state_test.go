package consumer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// The state of a worker is read back unchanged. A damaged file is reported and replaced. A
// directory that cannot be written is an error.
func TestStateFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := time.Date(2026, 11, 29, 1, 2, 3, 4, time.UTC)
	want := state{
		Ledger:   ledger.Mark{Made: at, Key: order.Key{Producer: "shop", ID: "one"}, Revision: 7, At: at},
		Rollback: control.Rollback{Count: 2, Ledger: streams.Extent{Made: at, Last: 5}, Requests: streams.Extent{Made: at, Last: 3}, Worker: "w"},
	}
	load := func() (state, error) { return (&stateFile{dir: dir}).load() }
	if got, err := load(); err != nil || got != (state{}) {
		t.Fatalf("without a file: %+v, %v", got, err)
	}
	if err := (&stateFile{dir: dir}).save(want); err != nil {
		t.Fatal(err)
	}
	if got, err := load(); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, stateName), []byte(`{"ledger":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := load(); !errors.Is(err, errNotAState) || got != (state{}) {
		t.Errorf("of a damaged file: %+v, %v", got, err)
	}
	if _, err := load(); err != nil {
		t.Errorf("after a damaged file was told: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
	missing := &stateFile{dir: filepath.Join(dir, "missing")}
	if _, err := missing.load(); err == nil || errors.Is(err, errNotAState) {
		t.Errorf("without the directory: %v", err)
	}
	none := &stateFile{}
	if _, err := none.load(); err != nil || none.save(want) != nil {
		t.Errorf("without state_dir: %v", err)
	}
}
