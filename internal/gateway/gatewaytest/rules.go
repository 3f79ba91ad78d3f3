package gatewaytest

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// flaw is a deliberate mistake in a certificate.
type flaw uint8

const (
	flawless flaw = iota
	flawKey
	flawNames
	flawExpired
	flawSigner
	flawChain // the chain shown with it has expired
)

// verdict is the effect of the rules on one request.
type verdict struct {
	delay    time.Duration
	approval *time.Duration // non-nil: the order is pending for this time (0: by hand)
	reject   *time.Duration // non-nil: the order is rejected after this time
	flaw     flaw
	word     string // the status in the answer, instead of the true one
	bare     bool   // leave the certificate out
	damaged  bool   // leave out half of the certificate
	down     bool   // the CA's status is DOWN
	goAway   bool   // the connection ends after the answer
	end      *Fault // replaces the answer
}

// rules holds the faults of a Server. Safe for concurrent use.
type rules struct {
	mu   sync.Mutex
	seed uint64
	next int
	list []*rule
}

type rule struct {
	Fault
	met   int               // matching requests so far
	fired map[string]int    // per order; nil unless PerOrder or Fraction needs it
	draws map[string]uint64 // per order: the number of draws of this rule
}

// set replaces all rules.
func (rs *rules) set(faults []Fault) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.list = nil
	for _, f := range faults {
		rs.addLocked(f)
	}
}

func (rs *rules) add(f Fault) int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.addLocked(f)
}

// addLocked appends a rule and returns its id. Caller holds rs.mu.
func (rs *rules) addLocked(f Fault) int {
	rs.next++
	f.ID, f.Fired = rs.next, 0
	rs.list = append(rs.list, &rule{Fault: f, fired: map[string]int{}, draws: map[string]uint64{}})
	return f.ID
}

func (rs *rules) remove(id int) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	n := len(rs.list)
	rs.list = slices.DeleteFunc(rs.list, func(r *rule) bool { return r.ID == id })
	return len(rs.list) < n
}

func (rs *rules) all() []Fault {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	out := make([]Fault, 0, len(rs.list))
	for _, r := range rs.list {
		out = append(out, r.Fault)
	}
	return out
}

// judge returns the effect of the rules on a request of op at a CA. It calls subject only if there are rules.
func (rs *rules) judge(op Op, ca string, subject func() string) verdict {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var v verdict
	if len(rs.list) == 0 {
		return v
	}
	who := ""
	if op != OpConnect {
		who = subject()
	}
	for _, r := range rs.list {
		if !r.applies(op, ca) || !strings.HasPrefix(who, r.CNPrefix) || v.end != nil && r.terminal() || !r.fires(rs.seed, who) {
			continue
		}
		v.add(&r.Fault)
	}
	return v
}

// fires reports whether the rule acts on a matching request, and counts the request. Caller
// holds the lock of the rules.
func (r *rule) fires(seed uint64, who string) bool {
	if r.Times > 0 && r.Fired >= r.Times || r.PerOrder > 0 && r.fired[who] >= r.PerOrder {
		return false
	}
	r.met++
	if r.met <= r.Skip {
		return false
	}
	if r.Fraction > 0 {
		n := r.draws[who]
		r.draws[who] = n + 1
		if draw(seed, uint64(r.ID)<<32|n, who) >= r.Fraction {
			return false
		}
	}
	r.Fired++
	if r.PerOrder > 0 {
		r.fired[who]++
	}
	return true
}

// add adds the effect of f.
func (v *verdict) add(f *Fault) {
	switch f.Kind {
	case FaultLatency:
		v.delay += f.Delay
	case FaultSlowApproval:
		v.approval = &f.Delay
	case FaultReject:
		v.reject = &f.Delay
	case FaultWrongKey:
		v.flaw = flawKey
	case FaultWrongNames:
		v.flaw = flawNames
	case FaultExpired:
		v.flaw = flawExpired
	case FaultWrongChain:
		v.flaw = flawSigner
	case FaultExpiredChain:
		v.flaw = flawChain
	case FaultUnknownStatus:
		v.word = f.Word
		if v.word == "" {
			v.word = "UNDER_REVIEW"
		}
	case FaultNoCertificate:
		v.bare = true
	case FaultDamagedCertificate:
		v.damaged = true
	case FaultCADown:
		v.down = true
	case FaultGoAway:
		v.goAway = true
	default:
		end := *f
		v.end = &end
	}
}
