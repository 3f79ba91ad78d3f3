package statuspage

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// plotWidth and plotHeight are the units of a plot's drawing; the stylesheet sets its
// size.
const (
	plotWidth  = 300
	plotHeight = 64
	// gap is the time without samples that breaks a line.
	gap = 3 * sampleEvery
)

// plot is one line of the last hour, ready for drawing.
type plot struct {
	ID, Title string
	Unit      string
	// Lines are the points of polylines, one for each stretch without a gap.
	Lines []string
	// Now, Least and Most are formatted values.
	Now, Least, Most string
	// Since is the length of the line, in words.
	Since string
	read
}

// Empty reports whether there is nothing to draw yet.
func (p plot) Empty() bool { return len(p.Lines) == 0 }

// newPlot draws points, which must be in order of time, for the hour before now.
func newPlot(id, title, unit string, points []point, now time.Time, read read) plot {
	p := plot{ID: id, Title: title, Unit: unit, read: read}
	if len(points) < 2 {
		return p
	}
	least, most := points[0].value, points[0].value
	for _, v := range points {
		least, most = min(least, v.value), max(most, v.value)
	}
	p.Now, p.Least, p.Most = number(points[len(points)-1].value), number(least), number(most)
	p.Since = minutes(now.Sub(points[0].at))
	top := max(most, 1) // the axis begins at 0, so that a flat line of 1,000 does not look like 0
	var line strings.Builder
	end := func() {
		if line.Len() > 0 {
			p.Lines = append(p.Lines, line.String())
		}
		line.Reset()
	}
	for i, v := range points {
		if i > 0 && v.at.Sub(points[i-1].at) > gap {
			end()
		}
		x := plotWidth * (1 - float64(now.Sub(v.at))/float64(historyFor))
		if x < 0 {
			continue
		}
		y := plotHeight - 2 - (plotHeight-4)*v.value/top
		if line.Len() > 0 {
			line.WriteByte(' ')
		}
		fmt.Fprintf(&line, "%.1f,%.1f", min(x, plotWidth), y)
	}
	end()
	return p
}

// minutes formats a time of at most an hour.
func minutes(d time.Duration) string {
	if n := int(d.Round(time.Minute).Minutes()); n != 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "1 minute"
}

// number formats a value with as few digits as possible.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return thousands(int64(v))
	}
	if v >= 10 {
		return thousands(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// thousands formats a whole number in groups of three digits.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "−", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
