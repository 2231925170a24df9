package command

import (
	"context"
	"io"
)

const (
	pumpBuffer = 256 << 10 // bytes
	pumpAhead  = 4         // buffers
)

// pump reads ahead in a goroutine of its own, so that whoever waits for it can be stopped.
type pump struct {
	ctx    context.Context
	cancel context.CancelFunc
	full   chan block
	empty  chan []byte
	now    block
	at     int // in now
}

type block struct {
	data []byte
	err  error
}

func pumped(ctx context.Context, r io.Reader) *pump {
	ctx, cancel := context.WithCancel(ctx)
	p := &pump{ctx: ctx, cancel: cancel, full: make(chan block, pumpAhead), empty: make(chan []byte, pumpAhead)}
	for range pumpAhead {
		p.empty <- make([]byte, pumpBuffer)
	}
	go p.run(r)
	return p
}

// run ends with r, or with the first Read of that which returns after the end of p.ctx.
func (p *pump) run(r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-p.empty:
		case <-p.ctx.Done():
			return
		}
		n, err := r.Read(buf[:cap(buf)])
		p.full <- block{buf[:n], err} // there are no more buffers than places
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (p *pump) Read(b []byte) (int, error) {
	for p.at == len(p.now.data) {
		if p.now.err != nil {
			return 0, p.now.err
		}
		if p.now.data != nil {
			p.empty <- p.now.data
			p.now = block{}
		}
		p.at = 0
		select {
		case p.now = <-p.full:
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
	}
	n := copy(b, p.now.data[p.at:])
	p.at += n
	return n, nil
}

// Close implements io.Closer.
func (p *pump) Close() error { p.cancel(); return nil }
