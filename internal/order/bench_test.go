package order

import (
	"testing"
	"time"
)

// The records of an order that is issued at once. Read with benchstat.
func BenchmarkRecord(b *testing.B) {
	r := Record{
		Phase: Submitting, Kind: "issue", Digest: make([]byte, 32), Origin: Ref{Sequence: 12345, Time: time.Unix(1_800_000_000, 1)},
		RequestedAt: time.Unix(1_800_000_000, 1), CAID: "ca~1", ProfileID: "tls-server", Owner: "host-abcdefghij", Lease: time.Minute,
		Submissions: 1, SubmittedAt: time.Unix(1_800_000_000, 2),
	}
	data, err := r.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
