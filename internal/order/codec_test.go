package order

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// instants draws a time, or the zero time.
func instants() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
	})
}

func causes() *rapid.Generator[*entrustbus.ResultError] {
	return rapid.Custom(func(t *rapid.T) *entrustbus.ResultError {
		return &entrustbus.ResultError{
			Class:   rapid.SampledFrom([]entrustbus.Class{entrustbus.ClassNetwork, entrustbus.ClassOther}).Draw(t, "class"),
			Code:    rapid.StringN(0, 8, -1).Draw(t, "code"),
			Message: rapid.StringN(0, 20, -1).Draw(t, "message"), HTTPStatus: rapid.IntRange(0, 599).Draw(t, "status"),
		}
	})
}

// records draws a record as a worker may write it.
func records() *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		counts := rapid.IntRange(0, 1<<20)
		texts := rapid.StringN(0, 12, -1)
		blobs := rapid.SliceOfN(rapid.Byte(), 0, 40)
		bytesOf := func(name string) []byte {
			if b := blobs.Draw(t, name); len(b) > 0 {
				return b
			}
			return nil
		}
		r := Record{
			Phase:      rapid.SampledFrom(Phases()).Draw(t, "phase"),
			Kind:       rapid.SampledFrom(kinds).Draw(t, "kind"),
			Generation: counts.Draw(t, "generation"), Digest: bytesOf("digest"),
			Origin:      Ref{Sequence: rapid.Uint64Range(0, 1<<62).Draw(t, "sequence"), Time: instants().Draw(t, "stored")},
			RequestedAt: instants().Draw(t, "requested"), CAID: texts.Draw(t, "ca"), ProfileID: texts.Draw(t, "profile"),
			PolicyDigest: bytesOf("policy"), Validity: time.Duration(counts.Draw(t, "validity")), Owner: texts.Draw(t, "owner"), Lease: time.Duration(counts.Draw(t, "lease")),
			Submissions: counts.Draw(t, "submissions"), Resubmissions: counts.Draw(t, "resubmissions"),
			PossibleDuplicate: rapid.Bool().Draw(t, "duplicate"), SubmittedAt: instants().Draw(t, "submitted"),
			TrackingID: texts.Draw(t, "tracking"), Deadline: instants().Draw(t, "deadline"), Tries: counts.Draw(t, "tries"),
			Waited: time.Duration(counts.Draw(t, "waited")), Noes: counts.Draw(t, "noes"), NoSince: instants().Draw(t, "no since"),
			Outcome: entrustbus.Outcome(texts.Draw(t, "outcome")), Serial: texts.Draw(t, "serial"),
		}
		if r.Phase == Indeterminate || rapid.Bool().Draw(t, "has a cause") {
			r.Cause = causes().Draw(t, "cause")
		}
		if rapid.Bool().Draw(t, "keeps its request") {
			r.Request = &Message{
				Subject: texts.Draw(t, "subject"), Body: blobs.Draw(t, "body"),
				Header: map[string][]string{"Trace": {texts.Draw(t, "header"), string(blobs.Draw(t, "header of bytes"))}},
			}
		}
		if r.Phase == Concluded {
			r.Conclusion = &Conclusion{
				Result: &entrustbus.Result{
					Version: entrustbus.Version, ID: "order", Producer: "acme", Kind: r.Kind, Outcome: entrustbus.OutcomeFailed,
					Error: causes().Draw(t, "error"), Submissions: counts.Draw(t, "counted"), FinishedAt: instants().Draw(t, "finished"),
				},
				Encoding:    rapid.SampledFrom([]entrustbus.Encoding{entrustbus.EncodingMsgpack, entrustbus.EncodingJSON}).Draw(t, "encoding"),
				TraceParent: texts.Draw(t, "traceparent"), TraceState: texts.Draw(t, "tracestate"),
				Reason: rapid.SampledFrom(append(Reasons(), "")).Draw(t, "reason"), Why: texts.Draw(t, "why"),
			}
		}
		return r
	})
}

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := records().Draw(t, "record")
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if r.Request != nil && len(r.Request.Body) == 0 {
			r.Request.Body, got.Request.Body = nil, nil // an absent body is an empty one
		}
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("read as\n%+v\nwas\n%+v", got, r)
		}
	})
}

// with returns the record's bytes with more keys, or other values.
func with(t *testing.T, r Record, keys map[string]any) []byte {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := msgpack.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for key, value := range keys {
		all[key] = value
	}
	if data, err = msgpack.Marshal(all); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestUnknownKeysStay: a worker keeps the keys of a newer worker, through every phase.
func TestUnknownKeysStay(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	more := map[string]any{"of_the_future": []any{"a", int8(1)}, "another": "text"}
	r, err := Decode(with(t, b.stored(Submitting).Record, more))
	if err != nil {
		t.Fatal(err)
	}
	ev := Answered{Call: Call{Op: OpEnroll, Owner: "b", Submission: 1}, Answer: Answer{Word: Refused, Error: fault}, Request: b.request}
	d := b.machine(0).Decide(begin, 0.5, b.key, Stored{Record: r, Revision: 1, At: begin}, ev)
	for _, r := range []Record{*d.Record, d.Record.Closed(d.Result.Result)} {
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		if err := msgpack.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for key, want := range more {
			if !reflect.DeepEqual(got[key], want) {
				t.Errorf("%s: %s is %v, want %v", r.Phase, key, got[key], want)
			}
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	closed := Record{Phase: Closed, Kind: entrustbus.KindIssue, Generation: 2}
	r, err := Decode(with(t, closed, map[string]any{"format": Format + 1}))
	if !errors.Is(err, ErrNewerFormat) || r.Generation != 2 {
		t.Errorf("a newer format: %v, %+v", err, r)
	}
	for name, data := range map[string][]byte{
		"nothing":                 nil,
		"text":                    []byte("no record"),
		"no format":               with(t, closed, map[string]any{"format": 0}),
		"no phase":                with(t, closed, map[string]any{"phase": ""}),
		"an unknown phase":        with(t, closed, map[string]any{"phase": "resting"}),
		"a key of another type":   with(t, closed, map[string]any{"generation": "two"}),
		"concluded without end":   with(t, closed, map[string]any{"phase": "concluded"}),
		"bytes behind the record": append(with(t, closed, nil), 0),
	} {
		if _, err := Decode(data); !errors.Is(err, ErrNotARecord) {
			t.Errorf("%s: %v, want ErrNotARecord", name, err)
		}
	}
	r, err = Decode(with(t, closed, map[string]any{"phase": "indeterminate"}))
	if err != nil || r.Cause == nil {
		t.Errorf("indeterminate without a cause: %v, %+v", err, r)
	}
}

// FuzzDecode: Encode writes every decoded record so that it decodes to the same record.
func FuzzDecode(f *testing.F) {
	b := tableOf(entrustbus.KindIssue)
	for _, p := range Phases() {
		data, err := b.stored(p).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		once, err := r.Encode()
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		twice, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once, twice) {
			t.Fatalf("written as\n%x\nthen as\n%x", once, twice)
		}
	})
}
