package order_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// A request whose headers fill a message would be submitted, and then no wake-up could
// hold it: it is refused before.
func TestRequestWithTooManyHeaders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		bytes int
		limit int64
		want  bool // refused
	}{{1 << 10, 1 << 20, false}, {24 << 10, 1 << 20, false}, {32 << 10, 1 << 20, true}, {60 << 10, 1 << 20, true}, {60 << 10, 0, false}} {
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
