package audit

import "github.com/entrust-worker/entrust-worker/entrustbus"

// The last tokens of the subjects of records that concern no producer. They are not valid
// producer names. NATS permissions let operators write to theirs only.
const (
	OfWorker   = "@worker"
	OfOperator = "@operator"
)

// subjectToken is the last token of the subject that a record belongs on, own being that
// of its writer.
func subjectToken(r *Record, own string) string {
	if entrustbus.ValidToken(r.Producer) {
		return r.Producer
	}
	return own
}
