package repair

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"firn/internal/digest"
	"firn/internal/store"
)

const (
	entrySuffix = ".json"
	newSuffix   = ".new"
	oldSuffix   = ".old"
	maxEntry    = 1 << 16
)

// entry is a replacement that has begun.
type entry struct {
	Object string `json:"object"`
	Class  string `json:"class"`
	Text   string `json:"sum"`
	Size   int64  `json:"size"`
	// Deleted tells that the old object is gone: what is there now was put by a replacement.
	Deleted bool          `json:"deleted,omitempty"`
	sum     digest.Object // Text
}

// aside is the folder where objects are kept while they are replaced.
type aside struct{ dir string }

// base is the path of the files about an object, without suffix.
func (a aside) base(object string) string {
	sum := sha256.Sum256([]byte(object))
	return filepath.Join(a.dir, hex.EncodeToString(sum[:12]))
}

// entries returns what was begun. A file that is no entry is left alone.
func (a aside) entries() (all []entry, err error) {
	files, err := os.ReadDir(a.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), entrySuffix) {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(a.dir, f.Name()))
		if err != nil {
			return nil, err
		}
		var e entry
		if len(raw) > maxEntry || json.Unmarshal(raw, &e) != nil || !store.ValidName(e.Object) || e.Size < 0 {
			continue
		}
		if e.sum, err = digest.ParseObject(e.Text); err == nil && a.base(e.Object)+entrySuffix == filepath.Join(a.dir, f.Name()) {
			all = append(all, e)
		}
	}
	return all, err
}

// clean removes what a process left that died before it wrote an entry.
func (a aside) clean() error {
	files, err := os.ReadDir(a.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), newSuffix)
		if !ok {
			name, ok = strings.CutSuffix(f.Name(), oldSuffix)
		}
		if !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(a.dir, name+entrySuffix)); errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(filepath.Join(a.dir, f.Name()))
		}
	}
	return err
}

// pending reports whether a replacement of an object has begun and not ended: nothing may touch its files.
func (a aside) pending(object string) bool {
	_, err := os.Stat(a.base(object) + entrySuffix)
	return err == nil
}

// create opens a new file about an object; an older one is dropped. It fails with ErrPending where that is needed.
func (a aside) create(object, suffix string) (*os.File, error) {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	if a.pending(object) {
		return nil, ErrPending
	}
	return os.OpenFile(a.base(object)+suffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

// forget removes all that is kept about an object, the entry first.
func (a aside) forget(object string) {
	for _, suffix := range []string{entrySuffix, newSuffix, oldSuffix} {
		_ = os.Remove(a.base(object) + suffix)
	}
}

// write writes an entry, which counts once write has returned.
func (a aside) write(e entry) error {
	e.Text = e.sum.String()
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	path := a.base(e.Object) + entrySuffix
	f, err := os.CreateTemp(a.dir, "entry-*")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if d, err := os.Open(a.dir); err == nil {
		_ = d.Sync() // systems that cannot sync folders are trusted
		_ = d.Close()
	}
	return nil
}

// keep stores what could not be read and is about to be removed, for people, and returns where.
func (a aside) keep(object string, content []byte) (string, error) {
	dir := filepath.Join(a.dir, "kept")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, strings.ReplaceAll(object, "/", "_"))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return path, err
}

// replaceBytes is replace for what lies in memory. old is what the store has now; nil: nothing that could be read.
func (x *run) replaceBytes(ctx context.Context, object, class string, content, old []byte) error {
	for suffix, raw := range map[string][]byte{newSuffix: content, oldSuffix: old} {
		f, err := x.aside.create(object, suffix)
		if err != nil {
			return err
		}
		_, err = f.Write(raw)
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			x.aside.forget(object)
			return err
		}
	}
	return x.replace(ctx, entry{Object: object, Class: class, Size: int64(len(content)), sum: digest.SumObject(content)})
}

// replace makes the bytes in the .new file, which are synced, the object of that name.
func (x *run) replace(ctx context.Context, e entry) error {
	if err := x.aside.write(e); err != nil {
		x.aside.forget(e.Object)
		return err
	}
	return x.finish(ctx, e)
}

// finish ends a replacement, from wherever it stands. After an error that leaves the object as it was the entry is gone; after any other it stays.
func (x *run) finish(ctx context.Context, e entry) error {
	f, err := os.Open(x.aside.base(e.Object) + newSuffix)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if sum, n, err := sumOf(f); err != nil || sum != e.sum || n != e.Size {
		return errors.Join(err, fmt.Errorf("%q is not what it was when it was written", f.Name()))
	}
	right, there, err := x.compare(ctx, e)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPending, err)
	}
	if there && !right {
		if err := x.st.Delete(ctx, e.Object); err != nil {
			if _, serr := x.st.Stat(ctx, e.Object); serr == nil && (errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrReadOnly)) {
				_ = f.Close()
				x.aside.forget(e.Object) // nothing has changed, and nothing will
				return err
			} else if !errors.Is(serr, store.ErrNotExist) {
				return fmt.Errorf("%w: %w", ErrPending, err)
			}
		}
	}
	if !right {
		e.Deleted = true
		if err := x.aside.write(e); err != nil {
			return fmt.Errorf("%w: %w", ErrPending, err)
		}
		err = x.st.Put(ctx, e.Object, f, e.Size, store.PutOptions{Sum: e.sum, Class: e.Class})
		if right, _, cerr := x.compare(ctx, e); cerr != nil || !right {
			return fmt.Errorf("%w: %w", ErrPending, errors.Join(err, cerr))
		}
	}
	_ = f.Close()
	x.aside.forget(e.Object)
	return nil
}

// compare reports whether the store has what the entry says, and whether it has anything under that name.
func (x *run) compare(ctx context.Context, e entry) (right, there bool, err error) {
	info, err := x.st.Stat(ctx, e.Object)
	if errors.Is(err, store.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	if info.Size != e.Size {
		return false, true, nil
	}
	if !info.Sum.IsZero() && info.Sum != e.sum {
		return false, true, nil
	}
	for range 3 { // a connection may flip a bit once
		sum, _, err := x.stored(ctx, e.Object)
		if errors.Is(err, store.ErrCold) {
			return e.Deleted, true, nil // a sum that the store tells is of what once came; but since the old object went nothing else has
		}
		if err != nil && ctx.Err() == nil && !store.IsTemporary(err) {
			return false, true, nil // it cannot be read: not what it has to be
		}
		if err != nil {
			return false, true, err
		}
		if sum == e.sum {
			return true, true, nil
		}
	}
	return false, true, nil
}

// stored reads an object and returns its SHA-256.
func (x *run) stored(ctx context.Context, object string) (sum digest.Object, n int64, err error) {
	rc, err := x.st.Get(ctx, object, 0, -1)
	if err != nil {
		return sum, 0, err
	}
	defer func() { _ = rc.Close() }()
	return sumOf(rc)
}

func sumOf(r io.Reader) (sum digest.Object, n int64, err error) {
	h := sha256.New()
	n, err = io.CopyBuffer(h, r, make([]byte, 256<<10))
	return digest.Object(h.Sum(nil)), n, err
}

// fetchSmall reads a whole small object; nil where it cannot be read.
func (x *run) fetchSmall(ctx context.Context, object string) []byte {
	rc, err := x.st.Get(ctx, object, 0, -1)
	if err != nil {
		return nil
	}
	defer func() { _ = rc.Close() }()
	var b bytes.Buffer
	_, _ = io.Copy(&b, io.LimitReader(rc, maxSmall))
	return b.Bytes()
}

// maxSmall bounds objects that are held in memory, in bytes.
const maxSmall = 320 << 20
