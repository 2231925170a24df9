//go:build unix

package main

import "firn/internal/plot"

// draw shows how what was measured grows with the number of files, both axes logarithmic: a line that rises as steeply as the dashed one is linear, a level one is constant.
func draw(all []*size) []byte {
	p := plot.Plot{
		Sheet: plot.Sheet{ID: "scale", Title: "How firn grows with the number of files", Desc: "seconds of CPU of each step; a file has 1 MB", Alone: true, Height: 420},
		X:     plot.Axis{Label: "files", Unit: plot.Counts(), Log: true}, Y: plot.Axis{Label: "CPU time", Unit: plot.Seconds(), Log: true},
	}
	for i, name := range stepNames()[1:] {
		s := plot.Series{Name: name, Color: i}
		for _, one := range all {
			if m := one.steps[name]; m != nil {
				s.X, s.Y = append(s.X, float64(one.files)), append(s.Y, m.CPU)
			}
		}
		p.Series = append(p.Series, s)
	}
	return p.SVG()
}

// drawMemory shows the same of memory.
func drawMemory(all []*size) []byte {
	p := plot.Plot{
		Sheet: plot.Sheet{ID: "memory", Title: "Peak memory, by the number of files", Desc: "of the whole process; a file has 1 MB", Alone: true, Height: 320},
		X:     plot.Axis{Label: "files", Unit: plot.Counts(), Log: true}, Y: plot.Axis{Label: "peak memory", Unit: plot.Bytes(), Log: true},
	}
	for i, name := range stepNames()[1:] {
		s := plot.Series{Name: name, Color: i}
		for _, one := range all {
			if m := one.steps[name]; m != nil {
				s.X, s.Y = append(s.X, float64(one.files)), append(s.Y, float64(m.Peak))
			}
		}
		p.Series = append(p.Series, s)
	}
	return p.SVG()
}
