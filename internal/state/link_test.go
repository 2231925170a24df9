package state

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestLink(t *testing.T) {
	s, notes := testState(t)
	if l := s.Link(); l != (Link{}) {
		t.Fatal(l)
	}
	s.SetLink(Link{Up: 100})
	s.SetLink(Link{Up: 300, Down: 7})
	if l := s.Link(); l != (Link{200, 7}) || len(*notes) > 0 {
		t.Fatal(l, *notes)
	}
	s.Still().SetLink(Link{Up: 1e9})
	if l := s.Link(); l != (Link{200, 7}) {
		t.Fatal("a run that pretends was remembered")
	}
	path := filepath.Join(s.state, "link")
	raw, _ := os.ReadFile(path)
	raw[len(raw)-1] ^= 1
	_ = os.WriteFile(path, raw, 0o600)
	if l := s.Link(); l != (Link{}) || len(*notes) != 1 {
		t.Fatal(l, *notes)
	}
	s.SetLink(Link{Up: 5})
	if l := s.Link(); l != (Link{Up: 5}) {
		t.Fatal(l)
	}
}

func TestPlace(t *testing.T) {
	d := Dirs{State: t.TempDir()}
	if d.Place("s3://a") != nil || (Dirs{}).Place("x") != nil {
		t.Fatal("a place out of nothing")
	}
	Dirs{}.SetPlace("x", []byte("y"))
	d.SetPlace("s3://a", []byte("one"))
	d.SetPlace("s3://b", []byte("two"))
	if !bytes.Equal(d.Place("s3://a"), []byte("one")) || !bytes.Equal(d.Place("s3://b"), []byte("two")) {
		t.Fatal("not what was kept")
	}
	d.SetPlace("s3://a", make([]byte, maxPlace+1))
	d.SetPlace("s3://b", nil)
	if !bytes.Equal(d.Place("s3://a"), []byte("one")) || d.Place("s3://b") != nil {
		t.Fatal("too long a one was kept, or one that is gone")
	}
}
