package gatewaytest

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// period is the requested validity of an order. The zero value requests none.
type period struct {
	start  time.Time // zero: when it is signed
	length time.Duration
}

// parsePeriod reads an ISO 8601 duration ("P1Y3M10DT0H0M", "PT3600S") or interval
// ("start/end", "start/duration", "duration/end"). Years and months of a duration alone
// count from now.
func parsePeriod(s string, now time.Time) (period, error) {
	left, right, interval := strings.Cut(s, "/")
	if !interval {
		end, err := addISO(now, s)
		return period{length: end.Sub(now)}, err
	}
	switch {
	case strings.HasPrefix(left, "P"):
		end, err := parseInstant(right)
		if err != nil {
			return period{}, errors.New("the interval's end is not an ISO 8601 instant")
		}
		// A duration before an end counts backwards from the end.
		start, err := beforeISO(end, left)
		if err != nil {
			return period{}, err
		}
		return period{start: start, length: end.Sub(start)}, nil
	case strings.HasPrefix(right, "P"):
		start, err := parseInstant(left)
		if err != nil {
			return period{}, errors.New("the interval's start is not an ISO 8601 instant")
		}
		end, err := addISO(start, right)
		return period{start: start, length: end.Sub(start)}, err
	default:
		start, err1 := parseInstant(left)
		end, err2 := parseInstant(right)
		if err1 != nil || err2 != nil || !end.After(start) {
			return period{}, errors.New("the interval is not two ISO 8601 instants in order")
		}
		return period{start: start, length: end.Sub(start)}, nil
	}
}

// parseInstant reads an ISO 8601 instant with a zone, with or without seconds.
func parseInstant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04Z07:00", s)
	}
	return t, err
}

// addISO adds an ISO 8601 duration to t, beforeISO subtracts one.
func addISO(t time.Time, s string) (time.Time, error)    { return shiftISO(t, s, 1) }
func beforeISO(t time.Time, s string) (time.Time, error) { return shiftISO(t, s, -1) }

func shiftISO(t time.Time, s string, sign int) (time.Time, error) {
	bad := errors.New("it is not an ISO 8601 duration")
	body, ok := strings.CutPrefix(s, "P")
	if !ok || body == "" {
		return t, bad
	}
	days, clock, timed := strings.Cut(body, "T")
	if timed && clock == "" {
		return t, bad
	}
	var years, months, dayCount int
	var length time.Duration
	for _, part := range []struct {
		text  string
		units string
	}{{days, "YMWD"}, {clock, "HMS"}} {
		text := part.text
		units := part.units
		for text != "" {
			i := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
			if i <= 0 {
				return t, bad
			}
			n, err := strconv.Atoi(text[:i])
			u := strings.IndexByte(units, text[i])
			if err != nil || n > math.MaxInt32 || u < 0 {
				return t, bad
			}
			switch part.units[:1] + text[i:i+1] {
			case "YY":
				years = n
			case "YM":
				months = n
			case "YW":
				dayCount += 7 * n
			case "YD":
				dayCount += n
			case "HH":
				length += time.Duration(n) * time.Hour
			case "HM":
				length += time.Duration(n) * time.Minute
			case "HS":
				length += time.Duration(n) * time.Second
			}
			text, units = text[i+1:], units[u+1:]
		}
	}
	if years > 1000 || months > 12000 || dayCount > 400000 || length < 0 {
		return t, errors.New("it is too long for a certificate")
	}
	end := t.AddDate(sign*years, sign*months, sign*dayCount).Add(time.Duration(sign) * length)
	if end.Equal(t) {
		return t, errors.New("it is zero")
	}
	return end, nil
}
