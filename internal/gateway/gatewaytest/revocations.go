package gatewaytest

import (
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Revocation is the latest change of a certificate's status.
type Revocation struct {
	// Serial is lower-case hex without padding.
	Serial string `json:"serial"`
	// TrackingID is the order's id; empty for a serial that this gateway never issued.
	TrackingID string `json:"tracking_id,omitempty"`
	// Standing is "revoked", "held", or "normal" after a hold that was lifted.
	Standing string `json:"standing"`
	// Reason is the RFC 5280 name.
	Reason  string    `json:"reason"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
	// Asked is the number of requests for this change, including repeats.
	Asked int `json:"asked"`
}

// Revocations returns the latest change of every certificate whose status ever changed, by
// serial.
func (s *Server) Revocations() []Revocation {
	st := s.store
	st.mu.Lock()
	out := make([]Revocation, 0, len(st.actions)+len(st.foreign))
	for num, rev := range st.actions {
		r := rev.view(hex.EncodeToString(st.nonce.serial(num)))
		r.TrackingID = st.nonce.trackingID(num, st.at(num).shape)
		out = append(out, r)
	}
	for serial, rev := range st.foreign {
		out = append(out, rev.view(new(big.Int).SetBytes([]byte(serial)).Text(16)))
	}
	st.mu.Unlock()
	slices.SortFunc(out, func(a, b Revocation) int { return strings.Compare(a.Serial, b.Serial) })
	return out
}

func (r *revocation) view(serial string) Revocation {
	return Revocation{
		Serial: serial, Standing: standingWord(r.standing), Reason: r.reason,
		Comment: r.comment, At: time.Unix(0, r.at).UTC(), Asked: r.asked,
	}
}

// revocation returns the latest change of an order's certificate.
func (st *store) revocation(num uint32) (revocation, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	rev, ok := st.actions[num]
	if !ok {
		return revocation{}, false
	}
	return *rev, true
}

// beyond reports whether num is higher than any order's.
func (st *store) beyond(num uint32) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return num > st.last
}
