package buckettest

import (
	"errors"
	"io"
	"testing"

	"firn/internal/bucket"
)

func TestMem(t *testing.T) {
	for name, o := range map[string]MemOptions{"plain": {}, "small": {Limits: bucket.Limits{MinPart: 100}}, "kms": {KMS: true}, "old": {NoSums: true}} {
		t.Run(name, func(t *testing.T) {
			Suite{Open: func(*testing.T) bucket.Bucket { return NewMem(o) }, Beside: func(_ *testing.T, b bucket.Bucket) (bucket.Bucket, string) {
				return b.(*Mem).Beside(MemOptions{Name: "other"}), "other"
			}, Cold: "DEEP_ARCHIVE", NoSums: o.NoSums}.Run(t)
		})
	}
}

func TestMemFaults(t *testing.T) {
	m := NewMem(MemOptions{})
	Put(t, m, "a/1", []byte("content"), bucket.PutOptions{})
	if err := m.SetFaults("get a/* cut times=1\nput b* lost\ndelete a/* denied\nhead * broken nth=2"); err != nil {
		t.Fatal(err)
	}
	if got, _, err := Get(t.Context(), m, "a/1", all); string(got) != "con" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
	if got, _, err := Get(t.Context(), m, "a/1", all); string(got) != "content" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := m.Put(t.Context(), "b", nothing{}, 0, bucket.PutOptions{}); !errors.Is(err, ErrBroken) || len(m.Content()) != 2 {
		t.Errorf("%v, %q", err, m.Content())
	}
	if failed, err := m.Delete(t.Context(), []string{"a/1", "b"}); err != nil || len(failed) != 1 || !errors.Is(failed["a/1"], bucket.ErrDenied) {
		t.Errorf("%v, %v", failed, err)
	}
	for i, want := range []error{nil, ErrBroken, nil} {
		if _, err := m.Head(t.Context(), "a/1"); !errors.Is(err, want) {
			t.Errorf("head %d: %v", i, err)
		}
	}
	for _, text := range []string{"get", "get *", "swim * cut", "get * wet", "get * cut nth=0", "get * cut x=1"} {
		if m.SetFaults(text) == nil {
			t.Errorf("%q was read", text)
		}
	}
	if m.Requests()["HeadObject"] != 3 {
		t.Error(m.Requests())
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error)       { return 0, io.EOF }
func (nothing) Seek(int64, int) (int64, error) { return 0, nil }
