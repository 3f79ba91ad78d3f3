package audit

import "github.com/entrust-worker/entrust-worker/entrustbus"

// ofWorker is the last token of the subject of records that concern no producer. It is
// not a valid producer name.
const ofWorker = "@worker"

// subjectToken is the last token of the subject that a record belongs on.
func subjectToken(r *Record) string {
	if entrustbus.ValidToken(r.Producer) {
		return r.Producer
	}
	return ofWorker
}
