package entrustbus

import (
	"fmt"
	"strings"
	"unicode"
)

// maxWarnings bounds the warnings of one message.
const maxWarnings = 8

// nearKey is the known key that is near an unknown key, "" for none. Near keys are: the same except for case and separators
// (csrPem), a known key without its last part (profile), or a key with one or two typing errors.
func nearKey(unknown string, known []string) string {
	best, distance := "", 3
	word := squeezed(unknown)
	if len(word) < 2 || len(word) > longestKey+2 {
		return ""
	}
	for _, key := range known {
		plain := squeezed(key)
		switch d := slips(word, plain); {
		case word == plain, strings.HasPrefix(key, strings.ToLower(unknown)+"_"):
			return key
		case d < distance && d <= len(plain)/4:
			best, distance = key, d
		}
	}
	return best
}

// longestKey bounds the keys of the contract.
const longestKey = 32

// squeezed is a key in lower case without separators.
func squeezed(key string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return unicode.ToLower(r)
	}, key)
}

// slips is how many letters were left out, added, changed, or swapped with their neighbour.
func slips(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return 3
	}
	var rows [3][longestKey + 3]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// warningsOf are the warnings about unknown keys that are near known keys. The keys are subject tokens by their form.
func warningsOf(unknown, known []string) []string {
	var all []string
	for _, key := range unknown {
		if near := nearKey(key, known); near != "" && len(all) < maxWarnings {
			all = append(all, fmt.Sprintf("unknown key %q is ignored: did you mean %q?", key, near))
		}
	}
	return all
}
