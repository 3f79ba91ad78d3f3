package usage

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a flag that takes how many things are done in a time. The zero value is no limit.
type Rate struct {
	N   float64
	Per time.Duration // a second, a minute or an hour; 0 with N 0
}

// rateUnits are the times of a rate. It is read only.
var rateUnits = []struct {
	name string
	per  time.Duration
}{{"s", time.Second}, {"min", time.Minute}, {"h", time.Hour}}

// Set reads 60/min, 5/s or 100/h. A number alone is that many a second; 0 is no limit.
func (r *Rate) Set(text string) error {
	digits, unit, ok := strings.Cut(text, "/")
	if !ok {
		unit = "s"
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err == nil && n == 0 && !ok {
		*r = Rate{}
		return nil
	}
	for _, u := range rateUnits {
		if err == nil && u.name == unit && n > 0 && n <= 1e6 { // nor NaN
			*r = Rate{n, u.per}
			return nil
		}
	}
	return fmt.Errorf("must be a rate such as 60/min, 5/s or 100/h, or 0 for no limit")
}

// PerSecond is how many a second, 0 for no limit.
func (r *Rate) PerSecond() float64 {
	if r.N == 0 {
		return 0
	}
	return r.N / r.Per.Seconds()
}

// Takes is how long n things take at least, where the first burst of them go at once.
func (r *Rate) Takes(n, burst int) time.Duration {
	if r.N == 0 || n <= burst {
		return 0
	}
	return time.Duration(float64(n-burst) / r.N * float64(r.Per)).Round(time.Second)
}

// String is the rate, "0" for no limit.
func (r *Rate) String() string {
	for _, u := range rateUnits {
		if u.per == r.Per && r.N > 0 {
			return strconv.FormatFloat(r.N, 'g', -1, 64) + "/" + u.name
		}
	}
	return "0"
}

// Type is what --help calls the value.
func (r *Rate) Type() string { return "rate" }
