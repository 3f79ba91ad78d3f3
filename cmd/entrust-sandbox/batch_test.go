package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewBatchHoldsExactlyThePlannedShares(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                       string
		plan                       plan
		pending, rejected, revoked int
	}{
		{"the default", plan{Orders: 200, Pending: 0.33, Reject: 0.05, Revoke: 0.1, Seed: 1}, 66, 10, 20},
		{"nothing", plan{Seed: 1}, 0, 0, 0},
		{"everything", plan{Orders: 10, Pending: 1, Reject: 0.5, Revoke: 0.5}, 10, 5, 5},
		{"shares that round up beyond the whole", plan{Orders: 1, Reject: 0.5, Revoke: 0.5}, 0, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := newBatch(tt.plan)
			if err != nil {
				t.Fatal(err)
			}
			var pending, rejected, revoked int
			keys := map[string]bool{}
			for _, o := range b.Orders {
				if o.Pending {
					pending++
				}
				if o.Reject {
					rejected++
				}
				if o.Revoke != "" {
					revoked++
				}
				if o.Reject && o.Revoke != "" {
					t.Errorf("%s is to be rejected and revoked", o.ID)
				}
				csr, err := x509.ParseCertificateRequest(o.CSR)
				if err != nil {
					t.Fatal(err)
				}
				if err := csr.CheckSignature(); err != nil {
					t.Errorf("%s: %v", o.ID, err)
				}
				keys[string(csr.RawSubjectPublicKeyInfo)] = true
			}
			if pending != tt.pending || rejected != tt.rejected || revoked != tt.revoked {
				t.Errorf("%d pending, %d rejected, %d revoked; want %d, %d, %d", pending, rejected, revoked, tt.pending, tt.rejected, tt.revoked)
			}
			if len(keys) != tt.plan.Orders {
				t.Errorf("%d keys for %d orders", len(keys), tt.plan.Orders)
			}
		})
	}
}

func TestSeedDecides(t *testing.T) {
	t.Parallel()
	names := func(seed uint64) string {
		b, err := newBatch(plan{Orders: 30, Pending: 0.3, Reject: 0.2, Revoke: 0.2, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, o := range b.Orders {
			all = append(all, o.commonName()+o.Revoke)
		}
		return strings.Join(all, " ")
	}
	if one, again := names(1), names(1); one != again {
		t.Errorf("one seed, two batches:\n%s\n%s", one, again)
	}
	if names(1) == names(2) {
		t.Error("two seeds, one batch")
	}
}

func TestOpenBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	chosen := func(flags ...string) func(string) bool {
		return func(flag string) bool {
			for _, f := range flags {
				if f == flag {
					return true
				}
			}
			return false
		}
	}
	p := plan{Orders: 3, Seed: 7}
	made, err := openBatch(dir, p, chosen("orders", "seed"))
	if err != nil || made.resumed {
		t.Fatalf("making: %v, resumed %t", err, made.resumed)
	}
	found, err := openBatch(dir, p, chosen("orders", "seed"))
	if err != nil || !found.resumed {
		t.Fatalf("finding: %v, resumed %t", err, found.resumed)
	}
	// A CSR that differs in a byte would be another request under the same id.
	for i := range made.Orders {
		if string(made.Orders[i].CSR) != string(found.Orders[i].CSR) {
			t.Errorf("%s was found with another CSR than it was made with", made.Orders[i].ID)
		}
	}
	if got, err := openBatch(dir, plan{Orders: 200, Seed: 1}, chosen()); err != nil || len(got.Orders) != 3 {
		t.Errorf("defaults that differ: %v; want the batch that is there", err)
	}
	if _, err := openBatch(dir, plan{Orders: 4, Seed: 7}, chosen("orders")); err == nil || !strings.Contains(err.Error(), "(3, not 4)") {
		t.Errorf("a flag that differs: %v; want an error with both values", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "batch.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openBatch(dir, p, chosen()); err == nil {
		t.Error("a broken batch was taken")
	}
}
