package entrustbus

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// How people write the durations that the contract wants in seconds: 7776000 in quotes, 90d or 36h, and ISO 8601's P90D
// or PT36H. Months and years have no fixed length, and so no number of seconds that could be told.
var (
	shortDuration = regexp.MustCompile(`^([0-9]{1,10}) ?(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)?$`)
	isoDuration   = regexp.MustCompile(`^p(?:([0-9]{1,10})w)?(?:([0-9]{1,10})d)?(?:t(?:([0-9]{1,10})h)?(?:([0-9]{1,10})m)?(?:([0-9]{1,10})s)?)?$`)
)

// meantSeconds is the number of seconds that a value of another type says, for the hint of an error.
func meantSeconds(v value) (int64, bool) {
	switch v.kind {
	case kindInt:
		return v.number, true
	case kindFloat:
		return int64(v.float), v.float >= 1 && v.float <= MaxValiditySeconds && v.float == math.Trunc(v.float)
	case kindText, kindBytes:
		if len(v.text) > 64 {
			return 0, false
		}
		n := secondsOf(strings.ToLower(strings.TrimSpace(string(v.text))))
		return n, n > 0 && n <= MaxValiditySeconds
	}
	return 0, false
}

func secondsOf(s string) int64 {
	units := map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}
	if m := shortDuration.FindStringSubmatch(s); m != nil {
		unit := int64(1)
		if m[2] != "" {
			unit = units[m[2][0]]
		}
		n, _ := strconv.ParseInt(m[1], 10, 64)
		return n * unit
	}
	total := int64(0)
	if m := isoDuration.FindStringSubmatch(s); m != nil {
		for i, unit := range []byte("wdhms") {
			n, _ := strconv.ParseInt(m[i+1], 10, 64) // "" is 0
			total += n * units[unit]
		}
	}
	return total
}
