package keys_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func setup(t *testing.T) (*keys.Store, jetstream.JetStream) {
	t.Helper()
	js := testbed.Start(t).JetStream(t)
	if _, err := streams.Provision(t.Context(), js, streams.DefaultLayout()); err != nil {
		t.Fatal(err)
	}
	return keys.New(js, "ENTRUST_KEYS"), js
}

// A block keeps its first reason until it is removed. Then the key can be blocked again.
func TestBlocks(t *testing.T) {
	t.Parallel()
	s, js := setup(t)
	a, b := keys.Hash([]byte("a")), keys.Hash([]byte("b"))
	single := keys.New(js, "ENTRUST_KEYS") // reads by direct get
	if err := single.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := func(hash, reason string) {
		t.Helper()
		for _, s := range []*keys.Store{s, single} {
			got, blocked, err := s.Get(t.Context(), hash)
			if err != nil || blocked != (reason != "") || got.Reason != reason {
				t.Errorf("the block of %s is %+v, %t (%v), want the reason %q", hash, got, blocked, err, reason)
			}
			if blocked && (got.Since.IsZero() || got.Hash != hash) {
				t.Errorf("the block is %+v", got)
			}
		}
	}
	add := func(hash, reason string, fresh bool) {
		t.Helper()
		if added, err := s.Add(t.Context(), keys.Block{Hash: hash, Reason: reason, Producer: "shop", Order: "r"}); err != nil || added != fresh {
			t.Errorf("adding %s: %t (%v), want %t", hash, added, err, fresh)
		}
	}
	remove := func(hash string, there bool) {
		t.Helper()
		if removed, err := s.Remove(t.Context(), hash); err != nil || removed != there {
			t.Errorf("removing %s: %t (%v), want %t", hash, removed, err, there)
		}
	}
	want(a, "")
	remove(a, false)
	add(a, "keyCompromise", true)
	add(a, "lost", false)
	want(a, "keyCompromise")
	want(b, "")
	add(b, "lost", true)
	remove(a, true)
	want(a, "")
	remove(a, false)
	add(a, "again", true)
	want(a, "again")

	var all []string
	for block, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, block.Hash+" "+block.Reason)
	}
	if got := strings.Join(all, ", "); got != b+" lost, "+a+" again" {
		t.Errorf("the blocks are %s", got)
	}
}

// An unreadable block blocks the key all the same. A text that is not a hash is never
// blocked.
func TestUnreadableBlock(t *testing.T) {
	t.Parallel()
	s, js := setup(t)
	kv, err := js.KeyValue(t.Context(), "ENTRUST_KEYS")
	if err != nil {
		t.Fatal(err)
	}
	hash := keys.Hash(nil)
	if _, err := kv.PutString(t.Context(), hash, "by hand"); err != nil {
		t.Fatal(err)
	}
	if _, blocked, err := s.Get(t.Context(), hash); err != nil || !blocked {
		t.Errorf("blocked: %t (%v)", blocked, err)
	}
	for _, wrong := range []string{"", "AB", strings.ToUpper(hash), hash + "0", hash[1:] + "."} {
		if _, err := s.Add(t.Context(), keys.Block{Hash: wrong, Reason: "r"}); err == nil {
			t.Errorf("%q was blocked", wrong)
		}
	}
}
