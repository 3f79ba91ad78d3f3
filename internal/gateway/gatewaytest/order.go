package gatewaytest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// state is the state of an order.
type state uint8

const (
	pending state = iota
	issued
	rejected
)

// standing is the status of an issued certificate.
type standing uint8

const (
	valid standing = iota
	revoked
	held
)

// shape is the form of an order's answers: the dialect and, in CAGW, the format of the body.
type shape uint8

const (
	shapeCertCtl shape = iota
	shapeX509
	shapePEM
	shapePKCS12
)

// keyID identifies a public key: the first half of the SHA-256 of its SubjectPublicKeyInfo.
// Reports show the whole hash.
type keyID [16]byte

func keyIDOf(spki []byte) keyID {
	sum := sha256.Sum256(spki)
	return keyID(sum[:16])
}

// order is one enrollment that the gateway accepted. The simulator keeps half a million of
// them, so times are integers, poll times are milliseconds since the enrollment, and the
// content of the certificate is packed.
type order struct {
	packed   []byte // spec, see pack
	cert     []byte // DER; nil until issued
	enrolled int64  // Unix nanoseconds
	due      int64  // when the order ends, Unix nanoseconds; 0: by hand

	polls, afterEnd               uint32
	firstPoll, lastPoll, shortest uint32 // ms since enrolled; shortest gap between two polls in ms

	older    uint32 // the previous order for the same key; 0: none
	state    state
	fate     state // what a pending order becomes at due: issued or rejected
	standing standing
	flaw     flaw
	shape    shape
	ca       uint8
	chain    bool // the request has includeCa
	ended    bool // an answer told the client how the order ended
}

// notePoll counts a poll at now.
func (o *order) notePoll(now int64) {
	ms := uint32(max(0, now-o.enrolled) / int64(time.Millisecond))
	switch o.polls {
	case 0:
		o.firstPoll = ms
	case 1:
		o.shortest = ms - o.lastPoll
	default:
		o.shortest = min(o.shortest, ms-o.lastPoll)
	}
	o.lastPoll = ms
	o.polls++
	if o.ended {
		o.afterEnd++
	}
}

// pack encodes a spec into one slice.
func (s spec) pack() []byte {
	b := make([]byte, 0, len(s.spki)+len(s.subject)+len(s.altNames)+len(s.extensions)+20)
	for _, part := range [][]byte{s.spki, s.subject, s.altNames} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	var start int64
	if !s.start.IsZero() {
		start = s.start.Unix()
	}
	b = binary.AppendVarint(b, start)
	b = binary.AppendVarint(b, int64(s.validity/time.Second))
	return append(b, s.extensions...)
}

// unpack is the inverse of pack. Its slices alias b.
func unpack(b []byte) spec {
	part := func() []byte {
		n, w := binary.Uvarint(b)
		p := b[w : w+int(n) : w+int(n)]
		b = b[w+int(n):]
		return p
	}
	s := spec{spki: part(), subject: part(), altNames: part()}
	start, w := binary.Varint(b)
	if start != 0 {
		s.start = time.Unix(start, 0)
	}
	b = b[w:]
	seconds, w := binary.Varint(b)
	s.validity, s.extensions = time.Duration(seconds)*time.Second, b[w:]
	return s
}

// nonce distinguishes the orders of two starts of a gateway, so that a tracking id of an
// earlier start is unknown and never another order's.
type nonce [8]byte

// trackingID returns the id of order num on the wire: "ENR-…" in the flat dialect, a UUID in
// the nested dialect.
func (n nonce) trackingID(num uint32, sh shape) string {
	if sh == shapeCertCtl {
		return fmt.Sprintf("ENR-%s-%d", hex.EncodeToString(n[:]), num)
	}
	return fmt.Sprintf("%s-%s-4%03x-8%03x-%012x", hex.EncodeToString(n[:4]), hex.EncodeToString(n[4:6]),
		uint16(n[6])<<4&0xfff, uint16(n[7])<<4&0xfff, num)
}

// order parses a tracking id of either form; false if it is of another start.
func (n nonce) order(id string) (uint32, bool) {
	if rest, ok := strings.CutPrefix(id, "ENR-"); ok {
		life, num, _ := strings.Cut(rest, "-")
		i, err := strconv.ParseUint(num, 10, 32)
		return uint32(i), err == nil && life == hex.EncodeToString(n[:])
	}
	if len(id) != 36 {
		return 0, false
	}
	i, err := strconv.ParseUint(id[24:], 16, 32)
	return uint32(i), err == nil && id == n.trackingID(uint32(i), shapeX509)
}

// serial returns the serial number of order num's certificate: 16 bytes, positive. It
// contains the number, so that no index of serials is needed.
func (n nonce) serial(num uint32) []byte {
	b := make([]byte, 16)
	copy(b, n[:])
	b[0] = b[0]&0x3f | 0x40
	binary.BigEndian.PutUint32(b[12:], num)
	check := sha256.Sum256(b)
	copy(b[8:12], check[:])
	return b
}

// orderOf returns the order whose certificate has the serial.
func (n nonce) orderOf(serial []byte) (uint32, bool) {
	if len(serial) != 16 {
		return 0, false
	}
	num := binary.BigEndian.Uint32(serial[12:])
	return num, string(n.serial(num)) == string(serial)
}
