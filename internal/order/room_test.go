package order

import (
	"bytes"
	"cmp"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// A request that is accepted can be kept to its end: the record of the end holds it, and its
// labels twice. A certificate's chain fits, whatever the request's size.
func TestRoomForTheEnd(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	labels := map[string]string{}
	for i := range entrustbus.MaxLabels {
		labels[fmt.Sprint("label", i)] = strings.Repeat("x", entrustbus.MaxLabelValueBytes)
	}
	body := &entrustbus.Revoke{ID: "o", Serial: "a1", Labels: labels}
	data, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, body)
	if err != nil {
		t.Fatal(err)
	}
	subjects := entrustbus.Subjects{}
	read := func(n int) Request { // blanks pad it
		return Read(subjects, &Message{
			Subject: "entrust.request.acme.revoke", Body: append(bytes.Clone(data), bytes.Repeat([]byte(" "), n-len(data))...),
		}, Limits{Size: size})
	}
	n := sort.Search(size, func(n int) bool { return n >= len(data) && read(n).Problem != nil }) - 1
	q := read(n)
	if q.Problem != nil || n < size/2 {
		t.Fatalf("%d bytes: %v", n, q.Problem)
	}
	b := tableOf(entrustbus.KindRevoke)
	cur := Stored{Record: Record{Phase: Submitting, Kind: q.Kind, Digest: q.Digest, Owner: "b", Lease: b.Lease, Submissions: 1, Request: q.Raw}, Revision: 1, At: begin}
	for _, a := range []Answer{
		{Word: Refused, Error: &entrustbus.ResultError{Class: entrustbus.ClassOther, Message: strings.Repeat("x", 200)}},
		{Word: Revoked, Certificate: &Certificate{PEM: strings.Repeat("x", 64<<10), Serial: "a1", SerialDecimal: "161"}},
	} {
		d := b.machine(0).Decide(begin, 0.5, q.Key, cur, Answered{Call: Call{Op: OpRevoke, Owner: "b", Submission: 1}, Answer: a, Request: func() *Request { return &q }})
		kept := cmp.Or(d.Record, d.Keep)
		record, err := kept.Encode()
		if err != nil || len(record) > size {
			t.Errorf("%s of a request of %d bytes makes a record of %d > %d (%v)", d.Result.Result.Outcome, n, len(record), size, err)
		}
	}
}
