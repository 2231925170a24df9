package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/minio/crc64nvme"
	"golang.org/x/sync/errgroup"

	"firn/internal/bucket"
	"firn/internal/seal"
	"firn/internal/sync/ledger"
)

// upload sends one file, again where it changes meanwhile.
func (r *run) upload(ctx context.Context, j *job) error {
	for try := 0; ; try++ {
		e, sent, err := r.uploadOnce(ctx, j)
		switch {
		case err == nil:
			r.put(e)
			r.done(j, sent)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrChanged) && try < r.o.Retries:
			if err := r.o.Wait(ctx, time.Duration(250<<try)*time.Millisecond); err != nil {
				return err
			}
		case errors.As(err, new(*readError)):
			r.unread(r.name(j), err)
			return nil
		default:
			return r.failed(r.name(j), err)
		}
	}
}

// uploadOnce sends a file as it is now, and returns the entry that says so.
func (r *run) uploadOnce(ctx context.Context, j *job) (*ledger.Entry, int64, error) {
	c, l, err := r.src.begin(j.local)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = c.Close() }()
	if j.to != nil && r.o.BackupDir != "" {
		if err := r.aside(ctx, j.to); err != nil {
			return nil, 0, err
		}
	}
	u := &sending{r: r, j: j, l: l, c: c, key: r.o.To.Prefix + j.key}
	u.options = bucket.PutOptions{Class: r.o.Classes.Of(l.path, l.size), ContentType: ContentType(l.path), Metadata: r.metadata(l)}
	switch {
	case l.dir:
		u.options.ContentType = "application/x-directory"
	case len(r.o.Recipients) > 0:
		u.options.ContentType = "application/octet-stream"
	}
	var info bucket.Info
	switch {
	case len(r.o.Recipients) > 0 && !l.dir:
		info, err = u.sealed(ctx)
	case l.size > r.o.Threshold:
		info, err = u.parts(ctx)
	default:
		info, err = u.whole(ctx)
	}
	if err != nil {
		return nil, 0, err
	}
	e := r.entry(j.key, l, info, true)
	e.Meta, e.PartSize, e.At = metaSum(u.options.Metadata), u.partSize, r.o.Now().Unix()
	if u.plain != nil {
		e.Flags |= ledger.Sealed | ledger.Opaque
		e.SumBy, e.Sum = bucket.CRC64NVME, u.plain
	} else if s := info.Sum; s != nil && s.Parts == 0 {
		e.SumBy, e.Sum = s.Algorithm, s.Value
	}
	return e, u.sent, nil
}

// entry says that a file and an object are the same. source: the file may change at any time.
func (r *run) entry(key string, l *localFile, info bucket.Info, source bool) *ledger.Entry {
	e := &ledger.Entry{Key: key, Size: l.size, Mtime: l.mtime, Ctime: l.ctime, Inode: l.inode, Stored: info.Size, ETag: info.ETag, Class: info.Class}
	if source && r.o.Now().UnixNano()-max(l.ctime, l.mtime*int64(b2i(l.ctime == 0))) < racy && !l.isLnk && !l.dir {
		e.Flags |= ledger.Recent
	}
	if l.isLnk {
		e.Flags |= ledger.Link
	}
	if l.dir {
		e.Flags |= ledger.Folder
	}
	if _, ok := parseTag(info.ETag); !ok || info.Encryption != "" && info.Encryption != "AES256" {
		e.Flags |= ledger.Opaque
	}
	return e
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sending is one upload under way.
type sending struct {
	r        *run
	j        *job
	l        *localFile // as it was when it was opened
	c        *reading
	key      string
	options  bucket.PutOptions
	partSize int64  // 0: in one piece
	plain    []byte // of what is encrypted: the checksum of the file
	sent     int64
}

// whole sends a file with one request.
func (u *sending) whole(ctx context.Context) (bucket.Info, error) {
	end, err := u.r.slotFor(ctx, u.l.size)
	if err != nil {
		return bucket.Info{}, err
	}
	defer end()
	ctx, g := u.c.stretch(ctx, 0, u.l.size)
	info, err := u.r.o.To.Bucket.Put(ctx, u.key, g, u.l.size, u.options)
	u.sent = u.l.size
	return u.sized(info, u.l.size), g.err(err)
}

// sized fills in what a server need not tell of what it has just stored.
func (u *sending) sized(info bucket.Info, size int64) bucket.Info {
	info.Size = size
	if info.Class == "" {
		info.Class = u.options.Class
	}
	return info
}

// partSize is that of a file: as wanted, doubled until the parts are few enough.
func (r *run) partSize(size int64) int64 {
	p, b := r.o.PartSize, r.o.To.Bucket
	if b == nil {
		b = r.o.From.Bucket
	}
	lim := b.Limits()
	if lim.MinPart > 0 {
		p = max(p, lim.MinPart)
	}
	most := int64(lim.MaxParts)
	if most <= 0 {
		most = 10_000
	}
	for (size+p-1)/p > most {
		p *= 2
	}
	return p
}

// maxBeside is how many parts of one file are sent side by side.
const maxBeside = 8

// parts sends a large file, going on with what an earlier run has sent of it.
func (u *sending) parts(ctx context.Context) (bucket.Info, error) {
	b := u.r.o.To.Bucket
	u.partSize = u.r.partSize(u.l.size)
	id, have, err := u.resume(ctx)
	if err != nil {
		return bucket.Info{}, err
	}
	if id == "" {
		if id, err = b.Begin(ctx, u.key, u.options); err != nil {
			return bucket.Info{}, err
		}
		u.begun(id)
	}
	n := int((u.l.size + u.partSize - 1) / u.partSize)
	parts := make([]bucket.Part, n)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(maxBeside)
	for i := range parts {
		if p, ok := have[i+1]; ok {
			parts[i] = p
			continue
		}
		g.Go(func() (err error) {
			parts[i], err = u.part(gctx, id, i+1)
			return err
		})
	}
	err = g.Wait()
	if err == nil && u.c.changed() {
		err = &readError{ErrChanged}
	}
	if err != nil {
		u.giveUp(ctx, id, err)
		return bucket.Info{}, err
	}
	info, err := b.Complete(ctx, u.key, id, parts, u.options)
	if err != nil {
		u.giveUp(ctx, id, err)
		return bucket.Info{}, err
	}
	if u.r.o.Book != nil {
		u.r.o.Book.End(id)
	}
	return u.sized(info, u.l.size), nil
}

// begun notes an upload, so that the next run can go on with it.
func (u *sending) begun(id string) {
	if u.r.o.Book != nil {
		u.r.o.Book.Begin(ledger.Upload{Key: u.j.key, ID: id, Size: u.l.size, Mtime: u.l.mtime, Ctime: u.l.ctime, Inode: u.l.inode, PartSize: u.partSize, Meta: u.meta()})
	}
}

// meta is a sum of what the object is given besides its content.
func (u *sending) meta() uint64 {
	return metaSum(map[string]string{"class": u.options.Class, "type": u.options.ContentType, "meta": fmt.Sprint(metaSum(u.options.Metadata))})
}

// giveUp drops an upload whose file has changed, or that is gone; any other stays for the next run.
func (u *sending) giveUp(ctx context.Context, id string, err error) {
	book := u.r.o.Book
	if book == nil || errors.As(err, new(*readError)) || u.plain != nil {
		if ctx.Err() == nil {
			_ = u.r.o.To.Bucket.Abort(ctx, u.key, id) // it costs a little until the server's own rule drops it
		}
	} else if !errors.Is(err, bucket.ErrNoUpload) {
		u.r.mu.Lock()
		u.r.tried[u.j.key] = true
		u.r.mu.Unlock()
		return
	}
	if book != nil && ctx.Err() == nil {
		book.End(id)
	}
}

// part sends one part.
func (u *sending) part(ctx context.Context, id string, n int) (bucket.Part, error) {
	off := int64(n-1) * u.partSize
	size := min(u.partSize, u.l.size-off)
	end, err := u.r.slotFor(ctx, size)
	if err != nil {
		return bucket.Part{}, err
	}
	defer end()
	ctx, g := u.c.stretch(ctx, off, size)
	p, err := u.r.o.To.Bucket.PutPart(ctx, u.key, id, n, g, size)
	if err = g.err(err); err != nil {
		return p, err
	}
	u.r.add(func(*Result) { u.sent += size })
	return p, nil
}

// resume finds an upload of this file that an earlier run began, and which of its parts are right. Others of the same key are dropped.
func (u *sending) resume(ctx context.Context) (string, map[int]bucket.Part, error) {
	for _, old := range u.r.uploads[u.j.key] {
		if old.Size != u.l.size || old.Mtime != u.l.mtime || old.Ctime != u.l.ctime || old.PartSize != u.partSize || old.Meta != u.meta() {
			u.drop(ctx, old.ID)
			continue
		}
		have, err := u.r.o.To.Bucket.Parts(ctx, u.key, old.ID)
		if errors.Is(err, bucket.ErrNoUpload) {
			u.drop(ctx, old.ID)
			continue
		}
		if err != nil {
			return "", nil, err
		}
		right := map[int]bucket.Part{}
		for _, p := range have {
			ok, err := u.right(ctx, p)
			if err != nil {
				return "", nil, err
			}
			if ok {
				right[p.N] = p
				u.r.add(func(res *Result) { res.Resumed += p.Size })
			}
		}
		return old.ID, right, nil
	}
	return "", nil, nil
}

// drop gives an upload up that nobody can go on with.
func (u *sending) drop(ctx context.Context, id string) {
	if u.r.o.To.Bucket.Abort(ctx, u.key, id) == nil {
		u.r.o.Book.End(id)
	}
}

// right reports whether a part that arrived has the content that the file has there.
func (u *sending) right(ctx context.Context, p bucket.Part) (bool, error) {
	off := int64(p.N-1) * u.partSize
	if p.N < 1 || off >= u.l.size || p.Size != min(u.partSize, u.l.size-off) {
		return false, nil
	}
	section := io.NewSectionReader(u.c, off, p.Size)
	out := &ledger.Entry{}
	c := &content{r: u.r, ctx: ctx, file: section, size: p.Size, out: out}
	var same bool
	var err error
	if t, ok := parseTag(p.ETag); len(p.Sum) == crc64nvme.Size {
		same, err = c.bySum(bucket.CRC64NVME, p.Sum)
	} else if ok && t.parts == 0 {
		same, err = c.byTag(t, nil)
	}
	if err != nil {
		return false, &readError{err}
	}
	return same, nil
}

// abandon drops uploads of earlier runs that this one had no use for, if all went well.
func (r *run) abandon(ctx context.Context) {
	if r.o.Book == nil || r.o.DryRun || r.o.To.local() || r.res.Incomplete() {
		return
	}
	for _, u := range r.o.Book.Uploads() {
		if !r.tried[u.Key] && r.o.To.Bucket.Abort(ctx, r.o.To.Prefix+u.Key, u.ID) == nil {
			r.o.Book.End(u.ID)
		}
	}
}

// inMemory is how much of an encrypted file is held in memory; more goes through a temporary file.
const inMemory = 256 << 10

// sealed sends a file encrypted. Its key lives as long as the upload: a killed one begins again.
func (u *sending) sealed(ctx context.Context) (bucket.Info, error) {
	s, err := seal.Header(u.r.o.Recipients...)
	if err != nil {
		return bucket.Info{}, err
	}
	size := seal.SealedSize(len(s.Prefix()), u.l.size)
	ctx, g := u.c.stretch(ctx, 0, u.l.size)
	defer g.stop()
	crc := crc64nvme.New()
	pr, pw := io.Pipe()
	go func() {
		w := s.Writer(pw)
		_, err := io.Copy(w, io.TeeReader(g, crc))
		if e := w.Close(); err == nil {
			err = e
		}
		pw.CloseWithError(err)
	}()
	defer func() { _ = pr.Close() }()
	u.plain = []byte{}
	var info bucket.Info
	if size <= u.r.o.Threshold {
		info, err = u.sealedWhole(ctx, pr, size)
	} else {
		info, err = u.sealedParts(ctx, pr, size)
	}
	if err = g.err(err); err != nil {
		return bucket.Info{}, err
	}
	u.plain = crc.Sum(nil)
	u.sent = size
	return u.sized(info, size), nil
}

// sealedWhole sends what fits one request.
func (u *sending) sealedWhole(ctx context.Context, from io.Reader, size int64) (bucket.Info, error) {
	end, err := u.r.slotFor(ctx, size)
	if err != nil {
		return bucket.Info{}, err
	}
	defer end()
	p, err := keep(from, size)
	if err != nil {
		return bucket.Info{}, err
	}
	defer p.close()
	return u.r.o.To.Bucket.Put(ctx, u.key, p, size, u.options)
}

// sealedParts sends a large one: parts are encrypted one after another and sent side by side.
func (u *sending) sealedParts(ctx context.Context, from io.Reader, size int64) (bucket.Info, error) {
	b := u.r.o.To.Bucket
	u.partSize = u.r.partSize(size)
	id, err := b.Begin(ctx, u.key, u.options)
	if err != nil {
		return bucket.Info{}, err
	}
	if u.r.o.Book != nil { // so that the next run drops it, if this one is killed
		u.r.o.Book.Begin(ledger.Upload{Key: u.j.key, ID: id, Size: -1, PartSize: u.partSize})
	}
	parts := make([]bucket.Part, (size+u.partSize-1)/u.partSize)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := range parts {
		n := min(u.partSize, size-int64(i)*u.partSize)
		p, err := keep(from, n)
		if err != nil {
			g.Go(func() error { return err })
			break
		}
		g.Go(func() error {
			defer p.close()
			end, err := u.r.slotFor(gctx, n)
			if err != nil {
				return err
			}
			defer end()
			parts[i], err = b.PutPart(gctx, u.key, id, i+1, p, n)
			return err
		})
	}
	if err = g.Wait(); err == nil {
		var info bucket.Info
		if info, err = b.Complete(ctx, u.key, id, parts, u.options); err == nil {
			if u.r.o.Book != nil {
				u.r.o.Book.End(id)
			}
			return info, nil
		}
	}
	if b.Abort(context.WithoutCancel(ctx), u.key, id) == nil && u.r.o.Book != nil {
		u.r.o.Book.End(id)
	}
	return bucket.Info{}, err
}

// piece is encrypted content that waits to be sent: in memory, or in a file without a name.
type piece struct {
	io.ReadSeeker
	f *os.File
}

// keep reads exactly size bytes.
func keep(from io.Reader, size int64) (*piece, error) {
	if size <= inMemory {
		b := make([]byte, size)
		if _, err := io.ReadFull(from, b); err != nil {
			return nil, err
		}
		return &piece{ReadSeeker: newBytes(b)}, nil
	}
	f, err := os.CreateTemp("", "firn-sync-*")
	if err != nil {
		return nil, err
	}
	p := &piece{f, f}
	_, err = io.CopyN(f, from, size)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *piece) close() {
	if p.f != nil {
		_ = p.f.Close()
		_ = os.Remove(p.f.Name())
	}
}
