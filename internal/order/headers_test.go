package order_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// A request whose headers fill a message is refused before it is submitted: no wake-up could
// hold it.
func TestRequestWithTooManyHeaders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		bytes int
		limit int64
		want  bool // refused
	}{{1 << 10, 1 << 20, false}, {24 << 10, 1 << 20, false}, {32 << 10, 1 << 20, false}, {60 << 10, 1 << 20, true}, {60 << 10, 0, false}} {
		raw := &order.Message{
			Subject: "entrust.request.shop.cancel", Body: []byte(`{"id":"a","order":"b"}`),
			Header: map[string][]string{"X-Large": {strings.Repeat("x", row.bytes)}},
		}
		q := order.Read(entrustbus.Subjects{}, raw, order.Limits{Size: row.limit})
		field, _ := errors.AsType[*entrustbus.FieldError](q.Problem)
		if refused := field != nil && field.Field == "headers"; refused != row.want || q.Problem != nil != row.want {
			t.Errorf("%d bytes of headers at a limit of %d: %v, want refused %v", row.bytes, row.limit, q.Problem, row.want)
		}
	}
}

// The labels of a request are in its result too, and a record holds both. A request whose
// result would not fit is refused before it is submitted.
func TestRequestWithTooManyLabels(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	for name, row := range map[string]struct {
		label  string
		labels int
		want   bool // refused
	}{
		"few":              {strings.Repeat("x", 1024), 20, false},
		"many":             {strings.Repeat("x", 1024), 40, true},
		"few, all escaped": {strings.Repeat("\x01", 1024), 4, false},
		"more of these":    {strings.Repeat("\x01", 1024), 10, true},
	} {
		cancel := &entrustbus.Cancel{ID: "a", Order: "b", Labels: map[string]string{}}
		for i := range row.labels {
			cancel.Labels[strings.Repeat("k", i+1)] = row.label
		}
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, cancel)
		if err != nil {
			t.Fatal(err)
		}
		raw := &order.Message{
			Subject: "entrust.request.shop.cancel", Body: body,
			Header: map[string][]string{"Content-Type": {entrustbus.EncodingMsgpack.ContentType()}},
		}
		q := order.Read(entrustbus.Subjects{}, raw, order.Limits{Size: limit})
		field, _ := errors.AsType[*entrustbus.FieldError](q.Problem)
		if refused := field != nil && field.Field == "body"; refused != row.want || q.Problem != nil != row.want {
			t.Errorf("%s, %d bytes: %v, want refused %v", name, len(body), q.Problem, row.want)
		}
	}
}
