package order

// Phase is where an order is in its life. The zero value means that the order has no record.
type Phase string

// The phases. The package comment says what each means for each kind of request.
const (
	Submitting    Phase = "submitting"
	Unaccepted    Phase = "unaccepted"
	Indeterminate Phase = "indeterminate"
	Awaiting      Phase = "awaiting"
	Concluded     Phase = "concluded"
	Closed        Phase = "closed"
)

// Phases returns every phase, in the order of an order's life.
func Phases() []Phase {
	return []Phase{Submitting, Unaccepted, Indeterminate, Awaiting, Concluded, Closed}
}

// Waits reports whether only a wake-up wakes an order in this phase.
func (p Phase) Waits() bool { return p == Unaccepted || p == Indeterminate || p == Awaiting }

// Ended reports whether the outcome of the generation in force is known.
func (p Phase) Ended() bool { return p == Concluded || p == Closed }
