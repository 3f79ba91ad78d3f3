package entrustbus

// Cancel asks to stop waiting for an order of the same producer. Both ids are required. Its own result is `cancelled`,
// or `failed` when it came too late or there is no such order; the order's result is then `cancelled`.
type Cancel struct {
	// ID names this request, as in Issue. It is not the id of the order.
	ID string `json:"id"`
	// Order is the id of the issue or track request to stop waiting for.
	Order string `json:"order"`
	// Labels come back in the result, unread.
	Labels map[string]string `json:"labels,omitempty"`
}

// Kind is KindCancel.
func (r *Cancel) Kind() Kind { return KindCancel }

// OrderID is ID: the id of this request, not of the order it stops.
func (r *Cancel) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Cancel) LabelMap() map[string]string { return r.Labels }

// Validate reports the first thing about the request that the contract forbids, as a *FieldError: see Request.
func (r *Cancel) Validate() error {
	switch {
	case !ValidToken(r.ID):
		return errToken("id")
	case r.Order == "":
		return errMissing("order")
	case !ValidToken(r.Order):
		return errToken("order")
	case r.Order == r.ID:
		return &FieldError{
			Field:   "order",
			Problem: "is the id of this request itself",
			Fix:     "give the id of the order to stop waiting for, and a new id to this request",
		}
	}
	return checkLabels(r.Labels)
}

func (r *Cancel) appendFields(d document) document {
	return d.text("id", r.ID).text("order", r.Order).labels("labels", r.Labels)
}

func (r *Cancel) readFields(f *fieldReader) {
	r.ID = f.text("id")
	r.Order = f.text("order")
	r.Labels = f.labels("labels")
}
