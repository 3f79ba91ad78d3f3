package order

import "testing"

// The names of the trace headers are read in any letter case, and every read of a message
// returns the same.
func TestTraceInAnyLetterCase(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		header        map[string][]string
		parent, state string
	}{
		"none":             {nil, "", ""},
		"lower case":       {map[string][]string{"traceparent": {"p"}, "tracestate": {"s"}}, "p", "s"},
		"a capital":        {map[string][]string{"Traceparent": {"p"}, "Tracestate": {"s"}}, "p", "s"},
		"capitals":         {map[string][]string{"TRACEPARENT": {"p"}, "TraceState": {"s"}}, "p", "s"},
		"the contract's":   {map[string][]string{"TRACEPARENT": {"q"}, "traceparent": {"p"}, "Traceparent": {"q"}}, "p", ""},
		"two other ones":   {map[string][]string{"traceParent": {"q"}, "TRACEPARENT": {"p"}, "Traceparent": {"q"}}, "p", ""},
		"one without text": {map[string][]string{"TRACEPARENT": {}, "Traceparent": {"p"}}, "p", ""},
		"another header":   {map[string][]string{"X-Traceparent": {"p"}, "trace-parent": {"p"}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &Message{Header: row.header}
			for range 20 {
				if parent, state := m.Trace(); parent != row.parent || state != row.state {
					t.Fatalf("read %q and %q, want %q and %q", parent, state, row.parent, row.state)
				}
			}
		})
	}
	if parent, state := (*Message)(nil).Trace(); parent+state != "" {
		t.Error("no message has a trace")
	}
}
