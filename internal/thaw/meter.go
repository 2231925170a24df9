package thaw

import "time"

// extendMargin is how much before its turn a copy may not expire, on top of a pass.
const extendMargin = time.Hour

// meter learns, from passes of Fetch, how fast the link is and how long a pass takes beside what it downloads: the straight line through
// (bytes, seconds), in which a pass counts 20 % less than the one
// after it. What cannot be told apart counts for the link, so that its speed is rather under- than overestimated.
type meter struct {
	assumed         float64 // bytes per second, until a pass was measured
	start           float64 // seconds of overhead, likewise
	n, x, y, xx, xy float64
}

// pass adds a pass. One that is too short says nothing.
func (m *meter) pass(bytes int64, took time.Duration) {
	if took < time.Second || bytes <= 0 {
		return
	}
	const keep = 0.8
	x, y := float64(bytes), took.Seconds()
	m.n, m.x, m.y, m.xx, m.xy = m.n*keep+1, m.x*keep+x, m.y*keep+y, m.xx*keep+x*x, m.xy*keep+x*y
}

// learnt returns bytes per second and seconds of overhead. Where passes are too much alike to tell one from the other, all of their time counts as the link's: a window by a speed that
// the link does not have would let copies expire.
func (m *meter) learnt() (speed, overhead float64) {
	if m.n == 0 {
		return m.assumed, m.start
	}
	speed, overhead = m.x/m.y, min(m.start, m.y/m.n/10)
	if spread := m.n*m.xx - m.x*m.x; spread > 0.01*m.x*m.x {
		slope := (m.n*m.xy - m.x*m.y) / spread
		if cut := (m.y - slope*m.x) / m.n; slope > 0 && cut >= 0 {
			overhead = min(cut, 0.5*m.y/m.n)
			speed = m.x / (m.y - m.n*overhead)
		}
	}
	return speed, overhead
}
