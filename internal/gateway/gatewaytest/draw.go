package gatewaytest

import (
	"encoding/binary"
	"hash/fnv"
)

// draw returns a number in [0,1) that depends only on its arguments: the seed, the purpose
// of the draw, and the subject.
func draw(seed, salt uint64, who string) float64 {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], seed)
	binary.LittleEndian.PutUint64(b[8:], salt)
	h.Write(b[:])
	h.Write([]byte(who))
	return float64(mix(h.Sum64())>>11) / (1 << 53)
}

// mix spreads every bit of x over all bits (the finaliser of SplitMix64). FNV alone gives
// close numbers to names that differ only in their last letter.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
