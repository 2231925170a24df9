package store

import (
	"context"
	"io"
	"time"
)

// Upload is an upload in parts that has begun and not ended. Its parts are billed, and no listing of objects shows them.
type Upload struct {
	Name  string
	ID    string
	Class string
	Begun time.Time // by the store's clock
}

// Sweeper is a store in which uploads that were cut off leave parts behind.
type Sweeper interface {
	// Uploads calls fn for every upload under way of an object whose name starts with prefix, anybody's, and stops at the first error that fn returns, which it returns.
	Uploads(ctx context.Context, prefix string, fn func(Upload) error) error
	// Abandon gives up an upload and removes its parts. Giving up what is not there is no error.
	Abandon(ctx context.Context, u Upload) error
}

// Sweep gives up the uploads of names that start with prefix and that began before a time, and tells how many. Others may still be sending theirs: before should lie
// days back.
func Sweep(ctx context.Context, s Sweeper, prefix string, before time.Time) (n int, err error) {
	var stale []Upload
	err = s.Uploads(ctx, prefix, func(u Upload) error {
		if u.Begun.Before(before) {
			stale = append(stale, u)
		}
		return nil
	})
	for _, u := range stale {
		if err != nil {
			break
		}
		if err = s.Abandon(ctx, u); err == nil {
			n++
		}
	}
	return n, err
}

// Paced is content that a wrapper lets be read only so fast. A store that reads it for another reason than sending it, such as a sum, reads what Unpaced returns.
type Paced interface {
	io.ReadSeeker
	Unpaced() io.ReadSeeker
}

// Unpaced returns what is behind r where r is Paced, else r. Both share one position.
func Unpaced(r io.ReadSeeker) io.ReadSeeker {
	for {
		p, ok := r.(Paced)
		if !ok {
			return r
		}
		r = p.Unpaced()
	}
}
