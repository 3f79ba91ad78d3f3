package entrustbus

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Period is a validity in the forms of ISO 8601 that the CA Gateway takes: a duration (P1Y3M10DT0H0M, PT3600S), or an
// interval of two instants, of an instant and a duration, or of a duration and an instant.
type Period struct {
	// From and To are the instants that the text names, zero where it names none.
	From, To time.Time
	length   calendarSpan // where it names at most one instant
}

// calendarSpan is a duration whose years and months have no fixed length.
type calendarSpan struct {
	years, months, days int
	clock               time.Duration
}

const day = 24 * time.Hour

// Longest is the longest that the period can be: a year counts 366 days, and a month 31.
func (p Period) Longest() time.Duration {
	if !p.From.IsZero() && !p.To.IsZero() {
		return p.To.Sub(p.From)
	}
	l := p.length
	return time.Duration(l.years)*366*day + time.Duration(l.months)*31*day + time.Duration(l.days)*day + l.clock
}

// Begins is the instant at which the period begins, zero where it begins with the certificate.
func (p Period) Begins() time.Time {
	if l := p.length; p.From.IsZero() && !p.To.IsZero() {
		return p.To.AddDate(-l.years, -l.months, -l.days).Add(-l.clock)
	}
	return p.From
}

// ParsePeriod reads a validity period. An instant needs its zone, and may leave out its seconds: 2026-11-01T13:00Z.
func ParsePeriod(text string) (Period, error) {
	left, right, interval := strings.Cut(text, "/")
	var p Period
	var err error
	switch {
	case !interval:
		p.length, err = parseDuration(left)
	case strings.HasPrefix(left, "P"):
		p.length, err = parseDuration(left)
		if err == nil {
			p.To, err = parseInstant(right)
		}
	case strings.HasPrefix(right, "P"):
		p.length, err = parseDuration(right)
		if err == nil {
			p.From, err = parseInstant(left)
		}
	default:
		if p.From, err = parseInstant(left); err == nil {
			p.To, err = parseInstant(right)
		}
	}
	switch longest := p.Longest(); {
	case err != nil:
		return Period{}, err
	case longest < time.Second:
		return Period{}, errors.New("is shorter than a second, or ends before it begins")
	case longest > MaxValiditySeconds*time.Second:
		return Period{}, errors.New("is longer than a hundred years")
	}
	return p, nil
}

func parseInstant(text string) (time.Time, error) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("has an instant that cannot be read")
}

// mostUnits bounds the number in front of one unit, so that nothing overflows.
const mostUnits = 100 * 366

func parseDuration(text string) (d calendarSpan, err error) {
	bad := errors.New("has a duration that cannot be read")
	rest, ok := strings.CutPrefix(text, "P")
	if !ok || rest == "" || strings.HasSuffix(rest, "T") {
		return d, bad
	}
	date, clock, _ := strings.Cut(rest, "T")
	for _, part := range []struct {
		text, units string
		most        int
		add         func(unit byte, n int)
	}{
		{date, "YMWD", mostUnits, func(unit byte, n int) {
			switch unit {
			case 'Y':
				d.years += n
			case 'M':
				d.months += n
			case 'W':
				d.days += 7 * n
			case 'D':
				d.days += n
			}
		}},
		{clock, "HMS", mostUnits * 86400, func(unit byte, n int) {
			d.clock += time.Duration(n) * map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}[unit]
		}},
	} {
		for units := part.units; part.text != ""; {
			i := strings.IndexFunc(part.text, func(r rune) bool { return r < '0' || r > '9' })
			if i <= 0 {
				return d, bad
			}
			n, err := strconv.Atoi(part.text[:i])
			at := strings.IndexByte(units, part.text[i])
			if err != nil || at < 0 {
				return d, bad
			}
			unit := units[at]
			if n > part.most || unit == 'H' && n > mostUnits*24 || unit == 'M' && n > mostUnits*24*60 {
				return d, errors.New("is longer than a hundred years")
			}
			part.add(unit, n)
			part.text, units = part.text[i+1:], units[at+1:]
		}
	}
	return d, nil
}

func checkPeriod(key, text string) error {
	if _, err := ParsePeriod(text); err != nil {
		return &FieldError{Field: key, Problem: err.Error(), Fix: "write it as P90D, as 2026-11-01T13:00Z/2027-07-06T09:00Z, or with a duration on one side of the slash"}
	}
	return nil
}
