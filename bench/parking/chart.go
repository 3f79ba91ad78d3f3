package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// line is one line of a chart: memory in bytes by number of orders.
type line struct {
	name   string
	colour string
	dashed bool
	points []point
}

type point struct {
	orders int
	bytes  int64
}

// Geometry of the chart, in pixels.
const (
	chartWidth, chartHeight            = 760, 460
	plotLeft, plotRight                = 84, 700
	plotTop, plotBottom                = 70, 330
	legendTop, legendStep, legendWidth = 384, 22, 340
)

// chart draws memory against parked orders as SVG, with logarithmic axes. It omits lines
// without points.
func chart(title, note string, lines []line) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="13" fill="#222">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, chartHeight)
	text(&b, plotLeft, 28, "start", 16, title)
	text(&b, plotLeft, 48, "start", 12, note)

	x, y := axes(lines)
	for _, tick := range y.ticks(2) {
		at := y.place(tick)
		rule(&b, plotLeft, at, plotRight, at)
		text(&b, plotLeft-8, at+4, "end", 12, megabytes(int64(tick)))
	}
	for _, tick := range x.ticks(10) {
		at := x.place(tick)
		rule(&b, at, plotTop, at, plotBottom)
		text(&b, at, plotBottom+18, "middle", 12, thousands(int(tick)))
	}
	text(&b, (plotLeft+plotRight)/2, plotBottom+38, "middle", 13, "parked orders")
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">resident memory</text>`+"\n", (plotTop+plotBottom)/2)

	shown := 0
	for _, l := range lines {
		if len(l.points) == 0 {
			continue
		}
		l.draw(&b, x, y)
		l.legend(&b, plotLeft+shown%2*legendWidth, legendTop+shown/2*legendStep)
		shown++
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (l line) draw(b *strings.Builder, x, y axis) {
	var path []string
	for _, p := range l.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.place(float64(p.orders)), y.place(float64(p.bytes))))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5"%s/>`+"\n", strings.Join(path, " "), l.colour, l.dash())
	for _, p := range l.points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"><title>%s: %s with %s orders</title></circle>`+"\n",
			x.place(float64(p.orders)), y.place(float64(p.bytes)), l.colour, html.EscapeString(l.name), megabytes(p.bytes), thousands(p.orders))
	}
}

func (l line) legend(b *strings.Builder, x, y int) {
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%[2]d" stroke="%[4]s" stroke-width="2.5"%[5]s/><circle cx="%[6]d" cy="%[2]d" r="4" fill="%[4]s"/>`+"\n",
		x, y, x+32, l.colour, l.dash(), x+16)
	text(b, float64(x+40), float64(y+4), "start", 13, l.name)
}

func (l line) dash() string {
	if l.dashed {
		return ` stroke-dasharray="6 4"`
	}
	return ""
}

// axis maps values onto pixels, logarithmically.
type axis struct{ low, high, from, to float64 }

func (a axis) place(v float64) float64 {
	return a.from + (a.to-a.from)*math.Log(v/a.low)/math.Log(a.high/a.low)
}

// ticks returns the powers of base from the axis's low end.
func (a axis) ticks(base float64) []float64 {
	var all []float64
	for v := a.low; v <= a.high*1.001; v *= base {
		all = append(all, v)
	}
	return all
}

// axes cover all points: orders in powers of ten at the low end and up to the highest
// number, memory in powers of two.
func axes(lines []line) (x, y axis) {
	x = axis{low: math.Inf(1), from: plotLeft, to: plotRight}
	y = axis{low: math.Inf(1), from: plotBottom, to: plotTop}
	for _, l := range lines {
		for _, p := range l.points {
			x.low, x.high = min(x.low, float64(p.orders)), max(x.high, float64(p.orders))
			y.low, y.high = min(y.low, float64(p.bytes)), max(y.high, float64(p.bytes))
		}
	}
	x.low = math.Pow(10, math.Floor(math.Log10(x.low)))
	x.high = max(x.high, 10*x.low)
	y.low = math.Pow(2, math.Floor(math.Log2(y.low)))
	y.high = math.Pow(2, math.Ceil(math.Log2(y.high)))
	return x, y
}

func rule(b *strings.Builder, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", x1, y1, x2, y2)
}

func text(b *strings.Builder, x, y float64, anchor string, size int, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>`+"\n", x, y, anchor, size, html.EscapeString(s))
}
