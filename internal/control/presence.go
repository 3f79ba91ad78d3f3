package control

import (
	"encoding/json"
	"time"
)

// presenceRecord is the value of a worker's key. Older workers write their name only.
type presenceRecord struct {
	Worker string `json:"worker"`
	// Up is how long the worker had been running at this write.
	Up duration `json:"up,omitempty"`
	About
}

// presenceOf decodes the value of a worker's key. It returns false for a value that no
// worker wrote.
func presenceOf(key string, data []byte, stored time.Time) (Presence, bool) {
	var r presenceRecord
	if json.Unmarshal(data, &r) != nil || token(r.Worker) != key {
		return Presence{}, false
	}
	p := Presence{Worker: r.Worker, Seen: stored, About: r.About}
	if r.Up > 0 {
		p.Started = stored.Add(-time.Duration(r.Up))
	}
	return p, true
}

// presence returns this worker's current report.
func (b *Bucket) presence() presenceRecord {
	r := presenceRecord{Worker: b.worker, Up: duration(time.Since(b.begun).Round(time.Second))}
	if b.about != nil {
		r.About = b.about()
	}
	r.GatewayProblem, r.CertificateProblem = oneLine(r.GatewayProblem), oneLine(r.CertificateProblem)
	if skew, _, ok := b.clock.Skew(); ok {
		r.Skew, r.SkewKnown = skew, true
	}
	return r
}
