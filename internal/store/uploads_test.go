package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// uploads is a Sweeper of a list.
type uploads struct {
	list []Upload
	gone []string
	fail error
}

func (u *uploads) Uploads(_ context.Context, _ string, fn func(Upload) error) error {
	for _, one := range u.list {
		if err := fn(one); err != nil {
			return err
		}
	}
	return nil
}

func (u *uploads) Abandon(_ context.Context, one Upload) error {
	if u.fail != nil && len(u.gone) > 0 {
		return u.fail
	}
	u.gone = append(u.gone, one.ID)
	return nil
}

func TestSweep(t *testing.T) {
	day := func(n int) time.Time { return time.Unix(int64(n)*86400, 0) }
	u := &uploads{list: []Upload{{ID: "a", Begun: day(1)}, {ID: "b", Begun: day(9)}, {ID: "c", Begun: day(2)}, {ID: "d", Begun: day(5)}}}
	if n, err := Sweep(t.Context(), u, "", day(5)); n != 2 || err != nil || len(u.gone) != 2 || u.gone[1] != "c" {
		t.Errorf("%d, %v, %q", n, err, u.gone)
	}
	u.gone, u.fail = nil, errors.New("denied")
	if n, err := Sweep(t.Context(), u, "", day(5)); n != 1 || err != u.fail {
		t.Errorf("%d, %v", n, err)
	}
}

// twice is content behind two wrappers that pace.
type twice struct {
	io.ReadSeeker
	behind io.ReadSeeker
}

func (p twice) Unpaced() io.ReadSeeker { return p.behind }

func TestUnpaced(t *testing.T) {
	r := bytes.NewReader(nil)
	if Unpaced(r) != io.ReadSeeker(r) || Unpaced(twice{r, twice{r, r}}) != io.ReadSeeker(r) {
		t.Error("not what is behind")
	}
}
