package audit

import "github.com/entrust-worker/entrust-worker/entrustbus"

// Last subject tokens of records that concern no producer. They are not valid producer
// names. NATS permissions let operators write to OfOperator only.
const (
	OfWorker   = "@worker"
	OfOperator = "@operator"
)

// subjectToken returns the last token of the subject of a record. own is the token of its
// writer.
func subjectToken(r *Record, own string) string {
	if entrustbus.ValidToken(r.Producer) {
		return r.Producer
	}
	return own
}
