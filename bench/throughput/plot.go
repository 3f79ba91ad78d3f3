package main

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgsvg" // writes files that end in .svg
)

// draw writes a series as SVG: the CPU time of an order in the worker and in the server.
func (s *series) draw(file string) error {
	p := plot.New()
	p.Title.Text = "CPU time of an order by " + s.Of
	p.X.Label.Text, p.Y.Label.Text = s.Of, "µs an order"
	p.Y.Min, p.Legend.Top = 0, true
	if last := s.Points[len(s.Points)-1].X; last > 10*s.Points[0].X {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	for _, l := range []struct {
		name   string
		colour color.Color
		of     func(point) float64
	}{
		{"worker", color.RGBA{0x2c, 0x5a, 0xa0, 0xff}, func(p point) float64 { return p.Worker }},
		{"nats-server", color.RGBA{0xb0, 0x4a, 0x2f, 0xff}, func(p point) float64 { return p.Servers }},
	} {
		var points plotter.XYs
		for _, at := range s.Points {
			points = append(points, plotter.XY{X: float64(at.X), Y: l.of(at)})
			p.Y.Max = math.Max(p.Y.Max, 1.3*l.of(at))
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("plotting %s: %w", s.Name, err)
		}
		line.Color, dots.Color = l.colour, l.colour
		p.Add(line, dots)
		p.Legend.Add(l.name, line, dots)
	}
	p.Add(plotter.NewGrid())
	if err := p.Save(14*vg.Centimeter, 8*vg.Centimeter, file); err != nil {
		return fmt.Errorf("writing the plot %s: %w", file, err)
	}
	return nil
}
