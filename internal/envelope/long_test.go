package envelope

import (
	"bytes"
	"io"
	"testing"

	"filippo.io/age"

	"firn/internal/sign"
)

// TestBeforeLong: who opens many is asked once before one of them becomes long, and never about those that stay short.
func TestBeforeLong(t *testing.T) {
	id := identity(t)
	for n, want := range map[int]int{0: 0, FrameSize: 0, longBody: 0, longBody + 1: 1, 3 * longBody: 1} {
		object, _, err := Seal(sign.Index, make([]byte, n), Keys{Signer: host, Recipients: []age.Recipient{id.Recipient()}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(sign.Index, bytes.NewReader(object), []age.Identity{id}, Check{Repo: repo, Scope: scope, MAC: &mac, Author: author})
		if err != nil {
			t.Fatal(err)
		}
		asked, read := 0, int64(0)
		r.BeforeLong(func() {
			if asked++; read > longBody {
				t.Errorf("%d bytes: asked after %d", n, read)
			}
		})
		for err = nil; err == nil; {
			var some int
			some, err = r.Read(make([]byte, 64<<10))
			read += int64(some)
		}
		if err != io.EOF || read != int64(n) || asked != want {
			t.Errorf("%d bytes: asked %d times, want %d; read %d: %v", n, asked, want, read, err)
		}
	}
}
