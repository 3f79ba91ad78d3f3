package gatewaytest

import (
	"encoding/binary"
	"hash/fnv"
)

// draw returns a number in [0,1) that depends on nothing but its arguments: the
// seed, what is drawn for, and who it is drawn for.
func draw(seed, salt uint64, who string) float64 {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], seed)
	binary.LittleEndian.PutUint64(b[8:], salt)
	h.Write(b[:])
	h.Write([]byte(who))
	return float64(mix(h.Sum64())>>11) / (1 << 53)
}

// mix spreads every bit of x over all bits (the finaliser of SplitMix64): FNV
// alone leaves names that differ in their last letter close to one another.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
