package subversion

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const someDump = `SVN-fs-dump-format-version: 2

UUID: 537d6fd3-1b39-49f3-a99a-c1f24d832b60

Revision-number: 0
Prop-content-length: 56
Content-length: 56

K 8
svn:date
V 27
2026-11-20T13:27:05.360656Z
PROPS-END

Revision-number: 1
Prop-content-length: 10
Content-length: 10

PROPS-END

Node-path: a
Node-kind: file
Node-action: add
Text-content-length: 20
Content-length: 20

Revision-number: 2

Revision-number: 2
Prop-content-length: 56
Content-length: 56

K 8
svn:date
V 27
2026-11-20T13:27:07.360656Z
PROPS-END

`

func verified(text string, revision int, date time.Time) io.Reader {
	return &verifier{in: bufio.NewReaderSize(strings.NewReader(text), 4096), revision: revision, date: date}
}

func TestVerifier(t *testing.T) {
	zero, two := time.Date(2026, 11, 20, 13, 27, 5, 360656000, time.UTC), time.Date(2026, 11, 20, 13, 27, 7, 360656000, time.UTC)
	for _, c := range []struct {
		revision int
		date     time.Time
		want     error
	}{{0, zero, nil}, {0, two, errOther}, {1, time.Time{}, nil}, {1, zero, errOther}, {2, two, nil}, {2, zero, errOther}, {2, time.Time{}, errOther}, {3, zero, nil}} {
		if c.want == nil {
			if err := iotest.TestReader(verified(someDump, c.revision, c.date), []byte(someDump)); err != nil {
				t.Errorf("%d: %v", c.revision, err)
			}
			continue
		}
		out, err := io.ReadAll(verified(someDump, c.revision, c.date))
		if !errors.Is(err, c.want) || !strings.HasPrefix(someDump, string(out)) || c.revision < 2 && bytes.Contains(out, []byte("Node-path")) {
			t.Errorf("%d: %q, %v", c.revision, out, err)
		}
	}
}

func FuzzVerifier(f *testing.F) {
	for _, s := range []string{someDump, "", "\n", "x", "Content-length: -1\n\n", "Revision-number: 2\nContent-length: 9999999\n\n", "Revision-number: 2\nContent-length: 5\n\nK 99\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := io.ReadAll(verified(s, 2, time.Time{}))
		if !strings.HasPrefix(s, string(out)) || err == nil && len(out) != len(s) {
			t.Fatalf("%q became %q, %v", s, out, err)
		}
	})
}
