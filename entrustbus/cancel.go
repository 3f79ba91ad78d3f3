package entrustbus

// Cancel asks to stop waiting for an order of the same producer. Both ids are required. If it succeeds, its own result and
// the order's result are `cancelled`. Its own result is `failed` if it came too late or there is no such order.
type Cancel struct {
	// ID names this request, as in Issue. It is not the id of the order.
	ID string `json:"id"`
	// Order is the id of the issue or track request to stop waiting for.
	Order string `json:"order"`
	// Strict refuses the request for an unknown key that is near a known one, instead of a warning in the result.
	Strict bool `json:"strict,omitempty"`
	// Labels come back in the result; the worker does not read them.
	Labels map[string]string `json:"labels,omitempty"`

	notes
}

var cancelForm = form{
	title: "Cancel request",
	about: "Stops waiting for an order of the same producer. Published to <prefix>.request.<producer>.cancel.",
	table: table{
		idField(func(r *Cancel) any { return &r.ID }),
		orderField(func(r *Cancel) any { return &r.Order }, "The id of the issue or track request to stop waiting for."),
		strictField(func(r *Cancel) any { return &r.Strict }),
		labelsField(func(r *Cancel) any { return &r.Labels }),
	},
}

func (r *Cancel) form() *form { return &cancelForm }

// Kind is KindCancel.
func (r *Cancel) Kind() Kind { return KindCancel }

// OrderID is ID: the id of this request, not of the order it stops.
func (r *Cancel) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Cancel) LabelMap() map[string]string { return r.Labels }

// Validate reports the first thing about the request that the contract forbids, as a *FieldError: see Request.
func (r *Cancel) Validate() error {
	if err := cancelForm.table.check(r); err != nil {
		return err
	}
	return checkOrder(r.ID, r.Order)
}
