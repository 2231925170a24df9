package plain

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"firn/internal/bucket"
)

// memoryMax is the size up to which content is read once, into memory, and summed and sent from there, in bytes.
const memoryMax = 1 << 20

// pools keep memory for contents of up to 16 KiB, 128 KiB and memoryMax.
var pools = [...]struct {
	size int64
	p    *sync.Pool
}{{16 << 10, newPool(16 << 10)}, {128 << 10, newPool(128 << 10)}, {memoryMax, newPool(memoryMax)}}

func newPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

// load reads r from its start into memory if it is small. free gives the memory back; nobody may use the content then.
func load(ctx context.Context, r io.ReadSeeker, size int64) (c content, free func(), err error) {
	c = content{ctx: ctx, r: r, size: size}
	if size == 0 {
		return content{ctx: ctx, mem: []byte{}}, func() {}, nil
	}
	if size > memoryMax {
		return c, func() {}, nil
	}
	i := 0
	for pools[i].size < size {
		i++
	}
	buffer := pools[i].p.Get().(*[]byte)
	free = func() { pools[i].p.Put(buffer) }
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		free()
		return c, nil, err
	}
	n, err := io.ReadFull(r, (*buffer)[:size])
	if err != nil {
		free()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = bucket.ErrShort
		}
		return c, nil, err
	}
	return content{ctx: ctx, mem: (*buffer)[:n], size: size}, free, nil
}

var errDetached = errors.New("request is over")

// body is the content of one request. HTTP's client may go on reading after it has the answer: once detached, body touches the content no more.
type body struct {
	c    content
	pace Pacer         // nil: no limit
	sent *atomic.Int64 // nil: nobody counts

	mu     sync.Mutex
	at     int64
	placed bool  // c.r stands at at
	over   bool  // detached
	err    error // of the content
}

func (b *Bucket) body(c content) *body { return &body{c: c, pace: b.o.Up, sent: b.o.Sent} }

// Read implements io.Reader. It ends with the context: HTTP's client notices that beside the sending, so that a body sent fast enough would be stored though its caller has given up.
func (b *body) Read(p []byte) (int, error) {
	if err := b.c.ctx.Err(); err != nil {
		return 0, err
	}
	if b.pace != nil {
		p = p[:min(len(p), max(1, b.pace.Burst()))]
	}
	n, err := b.read(p)
	if b.pace != nil && n > 0 {
		if end := b.pace.WaitN(b.c.ctx, n); end != nil {
			return 0, end
		}
	}
	if b.sent != nil && n > 0 {
		b.sent.Add(int64(n))
	}
	return n, err
}

func (b *body) read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, errDetached
	}
	if b.at >= b.c.size {
		return 0, io.EOF
	}
	if b.c.r == nil {
		n := copy(p, b.c.mem[b.at:])
		b.at += int64(n)
		return n, nil
	}
	if !b.placed {
		if _, err := b.c.r.Seek(b.at, io.SeekStart); err != nil {
			b.err = err
			return 0, err
		}
		b.placed = true
	}
	n, err := b.c.r.Read(p[:min(int64(len(p)), b.c.size-b.at)])
	b.at += int64(n)
	if err == io.EOF {
		if err = nil; b.at < b.c.size {
			err = bucket.ErrShort
		}
	}
	if err != nil {
		b.err = err
	}
	return n, err
}

// Seek implements io.Seeker.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.c.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	if offset != b.at {
		b.at, b.placed = offset, false
	}
	return offset, nil
}

// detach ends the use of the content and returns what was wrong with it, else err.
func (b *body) detach(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if err != nil && b.err != nil {
		return b.err
	}
	return err
}
