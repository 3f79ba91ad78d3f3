package orders

import (
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Keys reads the names of orders. Names without a producer are the producer's.
func Keys(args []string, producer string) ([]order.Key, error) {
	keys := make([]order.Key, len(args))
	for i, arg := range args {
		name := arg
		if !strings.Contains(arg, ".") {
			if producer == "" {
				return nil, usage.WithHint(usage.Errorf("order %q names no producer", terminal.Plain(arg)), "write <producer>.%s, or add --producer", terminal.Plain(arg))
			}
			name = producer + "." + arg
		}
		key, err := order.ParseKey(name)
		if err != nil {
			return nil, usage.Wrap(err)
		}
		if producer != "" && key.Producer != producer {
			return nil, usage.Errorf("order %s and --producer %s disagree", key, producer)
		}
		keys[i] = key
	}
	return keys, nil
}
