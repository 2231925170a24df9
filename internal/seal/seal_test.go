package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
)

func randomBytes(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func x25519(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func header(t testing.TB, recipients ...age.Recipient) *Sealer {
	t.Helper()
	s, err := Header(recipients...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// twin returns a sealer with the same key, so that two ways of sealing can be compared.
func twin(s *Sealer) *Sealer { return &Sealer{prefix: s.prefix, aead: s.aead} }

var sizes = []int{
	0, 1, 15, 16, 17, 1000, SegmentSize - 1, SegmentSize, SegmentSize + 1, 2*SegmentSize - 1, 2 * SegmentSize, 2*SegmentSize + 1, 5*SegmentSize + 333, 300_000, 1 << 20,
}

func TestAgeOpens(t *testing.T) {
	id := x25519(t)
	for _, n := range sizes {
		plain := randomBytes(uint64(n), n)
		for workers := range 5 {
			s := header(t, id.Recipient())
			object := s.Seal([]byte("before"), plain, workers)
			if string(object[:6]) != "before" {
				t.Fatal("what was before is gone")
			}
			object = object[6:]
			if int64(len(object)) != SealedSize(len(s.Prefix()), int64(n)) {
				t.Errorf("%d bytes, %d workers: %d sealed", n, workers, len(object))
			}
			for name, open := range map[string]func(io.Reader, ...age.Identity) (io.Reader, error){"age": age.Decrypt, "seal": Open} {
				r, err := open(bytes.NewReader(object), id)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes, %d workers: %s reads %d, %v", n, workers, name, len(got), err)
				}
			}
		}
	}
}

func TestWriterAgrees(t *testing.T) {
	id := x25519(t)
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range sizes {
		plain := randomBytes(uint64(n), n)
		for _, most := range []int{1 << 30, SegmentSize, 70_000, 3 * SegmentSize, 5000} {
			s := header(t, id.Recipient())
			want := twin(s).Seal(nil, plain, 2)
			var out bytes.Buffer
			w := s.Writer(&out)
			for rest := plain; len(rest) > 0; {
				k := min(len(rest), 1+r.IntN(most), most)
				if most == 1<<30 {
					k = len(rest)
				}
				if m, err := w.Write(rest[:k]); m != k || err != nil {
					t.Fatal(m, err)
				}
				rest = rest[k:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Fatalf("%d bytes in pieces of up to %d: Writer and Seal differ", n, most)
			}
			if _, err := w.Write([]byte{1}); err == nil {
				t.Error("written after the end")
			}
			if w.Close() == nil {
				t.Error("closed twice")
			}
		}
	}
}

// TestOpensAge reads what age itself wrote, range by range.
func TestOpensAge(t *testing.T) {
	id := x25519(t)
	r := rand.New(rand.NewPCG(2, 2))
	for _, n := range sizes {
		plain := randomBytes(uint64(n), n)
		var out bytes.Buffer
		w, err := age.Encrypt(&out, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		object := out.Bytes()
		k, p := openHead(t, object, id)
		size, err := PlainSize(p, int64(len(object)))
		if err != nil || size != int64(n) {
			t.Fatalf("plain size %d instead of %d: %v", size, n, err)
		}
		for i := range 60 {
			off := r.Int64N(size + 1)
			length := r.Int64N(size - off + 1)
			if i == 0 {
				off, length = 0, size
			}
			at, long := k.Range(off, length, size)
			sealed := bytes.Clone(object[at : at+long])
			got, err := k.OpenRange([]byte("x"), sealed, off, length, size)
			if err != nil || string(got) != "x"+string(plain[off:off+length]) {
				t.Fatalf("%d bytes at %d of %d: %v", length, off, size, err)
			}
			if !bytes.Equal(sealed, object[at:at+long]) {
				t.Fatal("the sealed bytes were changed")
			}
			if long > 2*SealedSegment+(length/SegmentSize)*SealedSegment {
				t.Fatalf("%d bytes need %d", length, long)
			}
		}
	}
}

func openHead(t testing.TB, object []byte, ids ...age.Identity) (*Key, int) {
	t.Helper()
	p, err := PrefixLen(object[:min(len(object), MaxPrefix)])
	if err != nil {
		t.Fatal(err)
	}
	k, err := OpenPrefix(object[:p], ids...)
	if err != nil {
		t.Fatal(err)
	}
	return k, p
}

func TestRecipients(t *testing.T) {
	a, b, other := x25519(t), x25519(t), x25519(t)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid2, _ := age.GenerateHybridIdentity()
	scrypt, _ := age.NewScryptRecipient("correct horse")
	scrypt.SetWorkFactor(10)
	scryptID, _ := age.NewScryptIdentity("correct horse")
	plain := randomBytes(3, 200_000)
	for name, test := range map[string]struct {
		to  []age.Recipient
		ids []age.Identity
	}{
		"one":         {[]age.Recipient{a.Recipient()}, []age.Identity{a}},
		"two":         {[]age.Recipient{a.Recipient(), b.Recipient()}, []age.Identity{a, b}},
		"hybrid":      {[]age.Recipient{hybrid.Recipient()}, []age.Identity{hybrid}},
		"two hybrids": {[]age.Recipient{hybrid.Recipient(), hybrid2.Recipient()}, []age.Identity{hybrid, hybrid2}},
		"passphrase":  {[]age.Recipient{scrypt}, []age.Identity{scryptID}},
	} {
		s := header(t, test.to...)
		object := s.Seal(nil, plain, 2)
		for i, id := range test.ids {
			r, err := age.Decrypt(bytes.NewReader(object), id)
			if err != nil {
				t.Fatalf("%s, identity %d: %v", name, i, err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, identity %d: %v", name, i, err)
			}
			k, p := openHead(t, object, other, id)
			if p != len(s.Prefix()) {
				t.Errorf("%s: prefix of %d bytes instead of %d", name, p, len(s.Prefix()))
			}
			at, n := k.Range(0, int64(len(plain)), int64(len(plain)))
			if got, err := k.OpenRange(nil, object[at:at+n], 0, int64(len(plain)), int64(len(plain))); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, identity %d: range: %v", name, i, err)
			}
		}
		if name == "passphrase" {
			continue
		}
		if _, err := OpenPrefix(s.Prefix(), other); !errors.Is(err, ErrNoIdentity) {
			t.Errorf("%s: a stranger gets %v", name, err)
		}
		if _, err := Open(bytes.NewReader(object), other); !errors.Is(err, ErrNoIdentity) {
			t.Errorf("%s: a stranger gets %v", name, err)
		}
	}
}

// labelled is a recipient with labels and a body of any length.
type labelled struct {
	labels []string
	stanza age.Stanza
	err    error
}

func (l *labelled) Wrap([]byte) ([]*age.Stanza, error) {
	return nil, errors.New("labels were not asked for")
}

func (l *labelled) WrapWithLabels([]byte) ([]*age.Stanza, []string, error) {
	return []*age.Stanza{&l.stanza}, l.labels, l.err
}

func TestLabels(t *testing.T) {
	classic := x25519(t).Recipient()
	hybrid, _ := age.GenerateHybridIdentity()
	scrypt, _ := age.NewScryptRecipient("x")
	scrypt.SetWorkFactor(1)
	with := func(labels ...string) *labelled { return &labelled{labels: labels, stanza: age.Stanza{Type: "test"}} }
	for name, test := range map[string]struct {
		to []age.Recipient
		ok bool
	}{
		"classic":               {[]age.Recipient{classic, classic}, true},
		"hybrid and classic":    {[]age.Recipient{hybrid.Recipient(), classic}, false},
		"classic and hybrid":    {[]age.Recipient{classic, hybrid.Recipient()}, false},
		"passphrase with other": {[]age.Recipient{scrypt, classic}, false},
		"two passphrases":       {[]age.Recipient{scrypt, scrypt}, false},
		"same labels":           {[]age.Recipient{with("a", "b"), with("b", "a")}, true},
		"subset":                {[]age.Recipient{with("a", "b"), with("a")}, false},
		"third differs":         {[]age.Recipient{with("a"), with("a"), with("b")}, false},
		"labels and none":       {[]age.Recipient{with(), classic}, true},
		"postquantum":           {[]age.Recipient{with("postquantum"), hybrid.Recipient()}, true},
	} {
		_, err := Header(test.to...)
		var label *LabelError
		if (err == nil) != test.ok || err != nil && !errors.As(err, &label) {
			t.Errorf("%s: %v", name, err)
		}
		if ageErr := ageEncrypt(test.to); (ageErr == nil) != test.ok {
			t.Errorf("%s: age says %v", name, ageErr)
		}
	}
	unsorted := with("b", "a")
	header(t, unsorted)
	if unsorted.labels[0] != "b" {
		t.Error("the recipient's labels were sorted in place")
	}
	_, err := Header(hybrid.Recipient(), classic)
	if err == nil || err.Error() != "post-quantum and classic recipients cannot be mixed" {
		t.Errorf("error %v", err)
	}
}

func ageEncrypt(to []age.Recipient) error {
	_, err := age.Encrypt(io.Discard, to...)
	return err
}

func TestHeaderErrors(t *testing.T) {
	if _, err := Header(); !errors.Is(err, ErrNoRecipient) {
		t.Errorf("no recipients: %v", err)
	}
	broken := errors.New("broken")
	if _, err := Header(&labelled{err: broken}); !errors.Is(err, broken) {
		t.Errorf("a recipient that fails: %v", err)
	}
	for _, s := range []age.Stanza{{Type: ""}, {Type: "a b"}, {Type: "x", Args: []string{"é"}}, {Type: "x", Args: []string{""}}, {Type: "x\n"}} {
		if _, err := Header(&labelled{stanza: s}); err == nil {
			t.Errorf("stanza %q is written", s)
		}
	}
	if _, err := Header(&labelled{stanza: age.Stanza{Type: "x", Body: make([]byte, MaxPrefix)}}); err == nil {
		t.Error("a header without limit")
	}
}

// TestStanzaBodies compares the wrapping of lines with age's own, by letting age read and write the header again.
func TestStanzaBodies(t *testing.T) {
	for n := range 200 {
		s := header(t, &labelled{stanza: age.Stanza{Type: "test", Args: []string{"a", "!~"}, Body: randomBytes(uint64(n), n)}})
		again, err := age.ExtractHeader(bytes.NewReader(s.Prefix()))
		if err != nil {
			t.Fatalf("body of %d bytes: %v", n, err)
		}
		if !bytes.Equal(again, s.Prefix()[:len(s.Prefix())-nonceSize]) {
			t.Fatalf("body of %d bytes: age writes the header differently", n)
		}
		if p, err := PrefixLen(s.Prefix()); err != nil || p != len(s.Prefix()) {
			t.Fatalf("body of %d bytes: prefix of %d, %v", n, p, err)
		}
	}
}

func TestOneUse(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("one key for two plaintexts")
		}
	}()
	s := header(t, x25519(t).Recipient())
	s.Seal(nil, nil, 1)
	s.Writer(io.Discard)
}

func TestFreshKeys(t *testing.T) {
	r := x25519(t).Recipient()
	a, b := header(t, r), header(t, r)
	if bytes.Equal(a.Prefix(), b.Prefix()) || bytes.Equal(a.Seal(nil, make([]byte, 99), 1)[len(a.Prefix()):], b.Seal(nil, make([]byte, 99), 1)[len(b.Prefix()):]) {
		t.Error("two headers share a key")
	}
}

type failing struct{ after int }

var errDisk = errors.New("disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	for _, after := range []int{0, 300, SealedSegment, 3 * SealedSegment} {
		w := header(t, x25519(t).Recipient()).Writer(&failing{after})
		for range 3 {
			_, _ = w.Write(make([]byte, 100_000))
		}
		if err := w.Close(); !errors.Is(err, errDisk) {
			t.Errorf("after %d bytes: %v", after, err)
		}
		if _, err := w.Write([]byte{1}); !errors.Is(err, errDisk) {
			t.Errorf("after %d bytes: written on: %v", after, err)
		}
	}
}

func TestDamage(t *testing.T) {
	id := x25519(t)
	plain := randomBytes(4, 3*SegmentSize+100)
	object := header(t, id.Recipient()).Seal(nil, plain, 1)
	k, p := openHead(t, object, id)
	size := int64(len(plain))
	open := func(body []byte, size int64) error {
		got, err := k.OpenRange([]byte("kept"), body, 0, size, size)
		if err != nil && string(got) != "kept" {
			t.Error("part of a damaged range is returned")
		}
		return err
	}
	body := object[p:]
	for i := 0; i < len(body); i += 977 {
		bad := bytes.Clone(body)
		bad[i] ^= 0x40
		var seg *SegmentError
		if err := open(bad, size); !errors.As(err, &seg) || !errors.Is(err, ErrCorrupt) || seg.Segment != int64(i/SealedSegment) || seg.Offset != seg.Segment*SegmentSize {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	swapped := slices.Concat(body[SealedSegment:2*SealedSegment], body[:SealedSegment], body[2*SealedSegment:])
	if err := open(swapped, size); !errors.Is(err, ErrCorrupt) {
		t.Errorf("segments swapped: %v", err)
	}
	if err := open(body[:3*SealedSegment], 3*SegmentSize); !errors.Is(err, ErrCorrupt) {
		t.Errorf("cut at the end of a segment: %v", err)
	}
	if err := open(body[:len(body)-1], size); !errors.Is(err, ErrTruncated) {
		t.Errorf("a byte less: %v", err)
	}
	if _, err := k.OpenRange(nil, nil, 0, 0, size); err != nil {
		t.Errorf("no bytes: %v", err)
	}
	empty := header(t, id.Recipient()).Seal(nil, nil, 1)
	k, p = openHead(t, empty, id)
	if at, n := k.Range(0, 0, 0); at != int64(p) || n != tagSize {
		t.Errorf("an empty object: %d bytes at %d", n, at)
	}
	if err := open(empty[p:], 0); err != nil {
		t.Error(err)
	}
	if err := open(make([]byte, tagSize), 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an empty object that is forged: %v", err)
	}
	prefix := bytes.Clone(object[:p])
	prefix[p-1] ^= 1
	if wrong, err := OpenPrefix(prefix, id); err != nil {
		t.Error(err)
	} else if _, err := wrong.OpenRange(nil, body, 0, size, size); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another nonce: %v", err)
	}
	prefix = bytes.Clone(object[:p])
	at := bytes.Index(prefix, []byte("---")) + 5
	prefix[at] = map[bool]byte{true: 'B', false: 'A'}[prefix[at] == 'A']
	if _, err := OpenPrefix(prefix, id); err == nil || errors.Is(err, ErrNoIdentity) {
		t.Errorf("another MAC: %v", err)
	}
}

func TestRangePanics(t *testing.T) {
	k := &Key{prefix: 200}
	for _, r := range [][3]int64{{-1, 1, 5}, {0, -1, 5}, {0, 6, 5}, {6, 0, 5}, {1 << 62, 1 << 62, 1 << 62}, {0, 0, -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("range %d is taken", r)
				}
			}()
			k.Range(r[0], r[1], r[2])
		}()
	}
}

func TestPlainSize(t *testing.T) {
	list := []int64{1 << 33, 1<<33 + 1}
	for _, n := range sizes {
		list = append(list, int64(n))
	}
	for _, n := range list {
		got, err := PlainSize(200, SealedSize(200, n))
		if err != nil || got != n {
			t.Errorf("%d bytes: %d, %v", n, got, err)
		}
	}
	for _, size := range []int64{-1, 0, 199, 200, 215, 200 + SealedSegment + 1, 200 + SealedSegment + 16, 200 + 4*SealedSegment + 5} {
		if got, err := PlainSize(200, size); !errors.Is(err, ErrCorrupt) {
			t.Errorf("object of %d bytes: %d, %v", size, got, err)
		}
	}
}

func TestPrefixLen(t *testing.T) {
	good := header(t, x25519(t).Recipient(), x25519(t).Recipient()).Prefix()
	for n := range good {
		if _, err := PrefixLen(good[:n]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if n, err := PrefixLen(append(bytes.Clone(good), "more\n--- more"...)); err != nil || n != len(good) {
		t.Errorf("%d bytes, %v", n, err)
	}
	for _, bad := range []string{
		"age-encryption.org/v2\n", "x", intro + "---\n", intro + "--- short\n", intro + "----" + strings.Repeat("x", 43) + "\n", strings.Repeat("\n", 100),
		intro + strings.Repeat("-> x\n\n", MaxPrefix), intro + strings.Repeat("x", MaxPrefix), strings.Repeat("x", MaxPrefix),
	} {
		if _, err := PrefixLen([]byte(bad)); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated) {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
	if _, err := OpenPrefix(append(bytes.Clone(good), 0), x25519(t)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
}

// TestAgeProgram lets the age program judge both ways.
func TestAgeProgram(t *testing.T) {
	if _, err := exec.LookPath("age"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("age is not installed")
		}
		t.Skip("age is not installed")
	}
	dir := t.TempDir()
	id := x25519(t)
	key, object := filepath.Join(dir, "key"), filepath.Join(dir, "object.age")
	if err := os.WriteFile(key, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, SegmentSize, 2*SegmentSize + 1, 3_000_000} {
		plain := randomBytes(uint64(n), n)
		if err := os.WriteFile(object, header(t, x25519(t).Recipient(), id.Recipient()).Seal(nil, plain, 2), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := exec.Command("age", "-d", "-i", key, object).Output(); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("age reads %d bytes of %d: %v", len(got), n, err)
		}
		cmd := exec.Command("age", "-r", id.Recipient().String())
		cmd.Stdin = bytes.NewReader(plain)
		sealed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		k, p := openHead(t, sealed, id)
		if got, err := k.OpenRange(nil, sealed[p:], 0, int64(n), int64(n)); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes sealed by age: %v", n, err)
		}
	}
}

// TestVector pins the bytes: fixed file key and nonce, a stanza that reveals nothing of either.
func TestVector(t *testing.T) {
	s, err := newSealer([]byte("YELLOW SUBMARINE"), []byte("0123456789abcdef"), []age.Recipient{&labelled{stanza: age.Stanza{Type: "test"}}})
	if err != nil {
		t.Fatal(err)
	}
	object := s.Seal(nil, []byte("firn"), 1)
	r, err := age.Decrypt(bytes.NewReader(object), fileKeyIdentity("YELLOW SUBMARINE"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "firn" {
		t.Fatalf("age reads %q, %v", got, err)
	}
	const want = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHRlc3QKCi0tLSBMOHd3MEQwNm5OMTluZjV1d3pOSld2NHMwcVV4YWxyNFFrV3BTMmZubFNvCjAxMjM0NTY3ODlhYmNkZWY="
	if got := base64.StdEncoding.EncodeToString(s.Prefix()); got != want {
		t.Errorf("prefix %s", got)
	}
}

type fileKeyIdentity string

func (k fileKeyIdentity) Unwrap([]*age.Stanza) ([]byte, error) { return []byte(k), nil }

func TestNoAllocation(t *testing.T) {
	id := x25519(t)
	s := header(t, id.Recipient())
	plain := make([]byte, 8<<20)
	dst := make([]byte, 0, SealedSize(len(s.Prefix()), int64(len(plain))))
	if n := testing.AllocsPerRun(3, func() { twin(s).Seal(dst, plain, 1) }); n > 4 {
		t.Errorf("Seal: %v allocations", n)
	}
	w := s.Writer(io.Discard)
	if n := testing.AllocsPerRun(3, func() { _, _ = w.Write(plain) }); n > 0 {
		t.Errorf("Writer: %v allocations", n)
	}
	object := twin(s).Seal(nil, plain, 2)
	k, p := openHead(t, object, id)
	if n := testing.AllocsPerRun(3, func() {
		if _, err := k.OpenRange(plain[:0], object[p:], 0, 8<<20, 8<<20); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("OpenRange: %v allocations", n)
	}
}

func FuzzOpen(f *testing.F) {
	id, err := age.ParseX25519Identity("AGE-SECRET-KEY-1EWZCFCR0KPE9D2JWLEP777F2U820CT9DCH7WUQKWMYJUFDM8Y8CQ0N6JM5") // of this test alone
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range []int{0, 100, SegmentSize + 1} {
		s, err := Header(id.Recipient())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s.Seal(nil, make([]byte, n), 1), uint32(3), uint32(70_000))
	}
	f.Add([]byte(intro+"-> a b\nAAAA\n--- "+strings.Repeat("A", 43)+"\n0123456789abcdef0123456789abcdef"), uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, object []byte, off, length uint32) {
		p, err := PrefixLen(object)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		size, err := PlainSize(p, int64(len(object)))
		if err != nil {
			return
		}
		k, err := OpenPrefix(object[:p], id)
		if err != nil {
			return
		}
		from := min(int64(off), size)
		n := min(int64(length), size-from)
		at, long := k.Range(from, n, size)
		if at < int64(p) || at+long > int64(len(object)) {
			t.Fatalf("range %d+%d of %d", at, long, len(object))
		}
		got, err := k.OpenRange(nil, object[at:at+long], from, n, size)
		if err == nil && int64(len(got)) != n {
			t.Fatalf("%d bytes instead of %d", len(got), n)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	plain := randomBytes(1, 64<<20)
	recipient := x25519(b).Recipient()
	for workers := 1; workers <= 2; workers++ {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			dst := make([]byte, 0, 65<<20)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				s, err := Header(recipient)
				if err != nil {
					b.Fatal(err)
				}
				s.Seal(dst, plain, workers)
			}
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	plain := randomBytes(1, 64<<20)
	recipient := x25519(b).Recipient()
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := Header(recipient)
		if err != nil {
			b.Fatal(err)
		}
		w := s.Writer(io.Discard)
		if _, err := w.Write(plain); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenChunk opens one MiB out of a pack, header included.
func BenchmarkOpenChunk(b *testing.B) {
	id := x25519(b)
	plain := randomBytes(1, 16<<20)
	object := header(b, id.Recipient()).Seal(nil, plain, 2)
	dst := make([]byte, 0, 1<<20)
	p, _ := PrefixLen(object)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		k, err := OpenPrefix(object[:p], id)
		if err != nil {
			b.Fatal(err)
		}
		at, n := k.Range(3_000_001, 1<<20, 16<<20)
		if _, err := k.OpenRange(dst, object[at:at+n], 3_000_001, 1<<20, 16<<20); err != nil {
			b.Fatal(err)
		}
	}
}
