package replay

import (
	"sync"
	"sync/atomic"
	"time"

	"firn/internal/event"
)

// progress counts what is done, for who listens.
type progress struct {
	report event.Func

	links, bytes, got, requests atomic.Int64
	linksTotal, bytesTotal      int64
	path                        atomic.Pointer[string]
}

// begin counts from nothing.
func (s *Streams) begin(links []*link) {
	p := &s.fed
	p.links.Store(0)
	p.bytes.Store(0)
	p.got.Store(0)
	p.requests.Store(0)
	p.linksTotal, p.bytesTotal = int64(len(links)), 0
	for _, l := range links {
		p.bytesTotal += l.Size
		l.failed, l.gate = nil, nil
	}
}

func (p *progress) current(path string) { p.path.Store(&path) }

func (p *progress) tell() {
	e := event.Progress{Phase: "restore", FilesDone: p.links.Load(), FilesTotal: p.linksTotal, BytesDone: p.bytes.Load(), BytesTotal: p.bytesTotal, BytesGot: p.got.Load()}
	if path := p.path.Load(); path != nil {
		e.Current = *path
	}
	p.report.Emit(e)
}

// reportProgress tells of it until it is stopped.
func (s *Streams) reportProgress() (stop func()) {
	if s.o.Report == nil {
		return func() {}
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.fed.tell()
			case <-done:
				s.fed.tell()
				return
			}
		}
	})
	return func() { close(done); all.Wait() }
}
