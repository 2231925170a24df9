package pack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/seal"
	"firn/internal/sign"
)

var (
	repo  = [16]byte{1}
	scope = [8]byte{2}
	mac   = [32]byte{3}
)

func signer() *sign.Signer { return sign.NewSigner(repo, scope, mac, [32]byte{4}) }

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// fill adds n chunks of at most size bytes and returns their content.
func fill(b *Builder, r *rand.Rand, n, size int) (content [][]byte) {
	enc := frame.NewEncoder(frame.Fastest)
	for range n {
		raw := make([]byte, 8+r.IntN(size))
		for i := range raw {
			raw[i] = byte(r.Uint32N(17))
		}
		for i := range min(8, len(raw)) {
			raw[i] = byte(r.Uint32())
		}
		content = append(content, raw)
		b.Add(digest.Chunk(sha256.Sum256(raw)), raw, enc)
	}
	return content
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	id := identity(t)
	b := NewBuilder(chunk.Meta, scope, 9, 32<<20)
	for _, n := range []int{1, 2, 50, 1600, 2500, 9000} {
		for _, padding := range []bool{false, true} {
			b.Reset()
			content := fill(b, r, n, 50+100_000/n)
			unpadded := b.Len()
			plain, pad := b.Finish(signer(), padding)
			if len(plain) != unpadded+pad || padding && frame.Padme(int64(len(plain))) != int64(len(plain)) || !padding && pad != 0 {
				t.Fatalf("%d chunks: %d bytes, %d expected, %d padding", n, len(plain), unpadded, pad)
			}
			var obj bytes.Buffer
			sealed, err := Seal(&obj, plain, id.Recipient())
			if err != nil || sealed.Size != int64(obj.Len()) || sealed.Name != digest.SumObject(obj.Bytes()) || !bytes.HasPrefix(obj.Bytes(), sealed.Prefix) {
				t.Fatalf("seal: %+v, %v", sealed, err)
			}
			reads := &counting{r: bytes.NewReader(obj.Bytes())}
			o, err := ReadTable(reads, sealed.Size, id)
			if err != nil {
				t.Fatal(err)
			}
			if most := 2 + n/1600; reads.n > min(most, 3) {
				t.Errorf("%d chunks: %d reads", n, reads.n)
			}
			if o.Kind != chunk.Meta || o.Scope != scope || o.Epoch != 9 || o.Padding != int64(pad) || !reflect.DeepEqual(o.Chunks, b.Chunks()) || !bytes.Equal(o.Prefix, sealed.Prefix) {
				t.Fatalf("%d chunks: table differs", n)
			}
			checkChunks(t, o, obj.Bytes(), content)
		}
	}
}

// checkChunks reads each chunk by one range of the object.
func checkChunks(t *testing.T, o *Opened, obj []byte, content [][]byte) {
	t.Helper()
	dec := frame.NewDecoder()
	if err := o.Each(func(i int, r chunk.Ref, off int64) error {
		at, n := o.Key.Range(off, int64(r.Frame), o.Plain)
		f, err := o.Key.OpenRange(nil, obj[at:at+n], off, int64(r.Frame), o.Plain)
		if err != nil {
			return err
		}
		raw, err := dec.Append(nil, f, int(r.Raw))
		if err == nil && !bytes.Equal(raw, content[i]) {
			err = fmt.Errorf("chunk %d differs", i)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s := signer()
	author := func(a sign.Author) (ed25519.PublicKey, bool) { return s.Public(), a == s.Author() }
	for name, c := range map[string]struct {
		check Check
		want  error
	}{
		"mac":         {Check{Repo: repo, Scope: scope, MAC: &mac}, nil},
		"signature":   {Check{Repo: repo, Scope: scope, Author: author}, nil},
		"both":        {Check{Repo: repo, Scope: scope, MAC: &mac, Author: author}, nil},
		"none":        {Check{Repo: repo, Scope: scope}, ErrUnproven},
		"stranger":    {Check{Repo: repo, Scope: scope, Author: func(sign.Author) (ed25519.PublicKey, bool) { return nil, false }}, ErrUnproven},
		"other repo":  {Check{Repo: [16]byte{9}, Scope: scope, Author: author}, sign.ErrSignature},
		"other mac":   {Check{Repo: repo, Scope: scope, MAC: &[32]byte{9}}, sign.ErrMAC},
		"other scope": {Check{Repo: repo, Scope: [8]byte{9}, MAC: &mac}, ErrTable},
	} {
		if err := o.Verify(c.check); !errors.Is(err, c.want) {
			t.Errorf("verify %s: %v, want %v", name, err, c.want)
		}
	}
}

type counting struct {
	r io.ReaderAt
	n int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.n++
	return c.r.ReadAt(p, off)
}

func TestTableBytes(t *testing.T) {
	b := NewBuilder(chunk.Meta, scope, 5, 1000)
	b.AddFrame(chunk.Ref{ID: digest.Chunk{0xaa}, Frame: 3, Raw: 7}, []byte("abc"))
	plain, _ := b.Finish(signer(), false)
	want := "616263" + "572a4d18" + "c0000000" + hex.EncodeToString([]byte("FIRNTAB1")) + "01" + "000000" + "05000000" + "0200000000000000" + "01000000" +
		"aa" + fmt.Sprintf("%062d", 0) + "03000000" + "07000000"
	got := hex.EncodeToString(plain)
	if got[:len(want)] != want || got[len(got)-24:] != "c0000000"+hex.EncodeToString([]byte("FIRNEND1")) {
		t.Errorf("plaintext %s", got)
	}
	s := signer()
	proof, err := sign.ParseProof(plain[len(want)/2 : len(plain)-FooterSize])
	msg := sign.Message(sign.Pack, repo, scope, sha256.Sum256(plain[3+8:len(want)/2]))
	if err != nil || proof.CheckSignature(s.Public(), msg) != nil || sign.CheckMAC(mac, msg, proof.MAC) != nil {
		t.Error("proof does not fit the bytes before it")
	}
}

func TestFits(t *testing.T) {
	enc := frame.NewEncoder(frame.Fastest)
	r := rand.New(rand.NewPCG(2, 2))
	b := NewBuilder(chunk.Data, scope, 0, 100_000)
	for n := 0; b.Fits(5000); n++ {
		raw := make([]byte, 5000)
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		id := digest.Chunk{byte(n), 1}
		ref := b.Add(id, raw, enc)
		if i, ok := b.Has(id); !ok || i != n || len(b.Frame(n)) != int(ref.Frame) {
			t.Fatal("chunk is not found")
		}
	}
	if b.Len() > 100_000 || b.Len() < 94_000 || b.Count() != 19 {
		t.Errorf("%d bytes, %d chunks", b.Len(), b.Count())
	}
	buf := &b.buf[:1][0]
	b.Reset()
	if !b.Fits(chunk.MaxRaw) || b.Len() != 0 {
		t.Error("the first chunk always fits")
	}
	fill(b, r, 10, 5000)
	if &b.buf[:1][0] != buf {
		t.Error("the buffer moved")
	}
}

func TestHostileTables(t *testing.T) {
	b := NewBuilder(chunk.Data, scope, 0, 100_000)
	fill(b, rand.New(rand.NewPCG(3, 3)), 5, 1000)
	frames := len(b.buf)
	plain, _ := b.Finish(signer(), false)
	good, size := plain[frames:], int64(len(plain))
	change := func(at int, v ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[(at+len(c))%len(c):], v)
		return c
	}
	if _, _, err := ParseTable(good, size); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		size int64
	}{
		"empty":         {nil, size},
		"end mark":      {change(-1, 'x'), size},
		"length":        {change(-12, 0xff, 0xff, 0xff, 0xff), size},
		"length + 1":    {change(-12, byte(len(good)-8+1)), size},
		"magic":         {change(0, 0x50), size},
		"head length":   {change(4, 0xff, 0xff), size},
		"tag":           {change(8, 'X'), size},
		"kind":          {change(16, 2), size},
		"not zero":      {change(17, 1), size},
		"count":         {change(32, 6), size},
		"count huge":    {change(32, 0xff, 0xff, 0xff, 0xff), size},
		"id zero":       {change(36, make([]byte, 32)...), size},
		"frame huge":    {change(36+32, 0xff, 0xff, 0xff, 0xff), size},
		"frames longer": {change(36+32, 0xff, 0xff, 0x10, 0), size},
		"raw zero":      {change(36+36, 0, 0, 0, 0), size},
		"plain shorter": {good, size - 1},
		"pad too small": {good, size + 15},
		"plain 4 GiB":   {good, MaxPlain + 1},
		"cut":           {good[1:], size},
	} {
		if _, _, err := ParseTable(c.b, c.size); !errors.Is(err, ErrTable) && !errors.Is(err, chunk.ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, pad, err := ParseTable(good, size+16); err != nil || pad != 16 {
		t.Errorf("padding %d, %v", pad, err)
	}
}

func TestReadTableDamaged(t *testing.T) {
	id := identity(t)
	b := NewBuilder(chunk.Data, scope, 0, 1<<20)
	fill(b, rand.New(rand.NewPCG(4, 4)), 300, 2000)
	plain, _ := b.Finish(signer(), false)
	obj, sealed, err := SealBytes(nil, plain, 2, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	var corrupt *CorruptError
	read := func(b []byte) error {
		_, err := ReadTable(bytes.NewReader(b), int64(len(b)), id)
		return err
	}
	for _, n := range []int{0, 10, len(sealed.Prefix) - 1, len(sealed.Prefix), len(sealed.Prefix) + 16, len(obj) / 2, len(obj) - 1} {
		if err := read(obj[:n]); !errors.As(err, &corrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for _, i := range []int{len(obj) - 1, len(obj) - 5000} {
		obj[i] ^= 1
		if err := read(obj); !errors.As(err, &corrupt) || !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("byte %d: %v", i, err)
		}
		obj[i] ^= 1
	}
	if _, err := ReadTable(bytes.NewReader(obj), sealed.Size, identity(t)); !errors.Is(err, seal.ErrNoIdentity) {
		t.Errorf("stranger: %v", err)
	}
	plainFile, _, err := SealBytes(nil, bytes.Repeat([]byte("no table "), 1000), 1, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if err := read(plainFile); !errors.As(err, &corrupt) || !errors.Is(err, ErrTable) {
		t.Errorf("no table: %v", err)
	}
}

// TestPrograms opens a pack with age and zstd alone.
func TestPrograms(t *testing.T) {
	for _, p := range []string{"age", "zstd"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	id := identity(t)
	b := NewBuilder(chunk.Data, scope, 0, 1<<20)
	content := fill(b, rand.New(rand.NewPCG(5, 5)), 40, 5000)
	plain, _ := b.Finish(signer(), true)
	dir := t.TempDir()
	key, obj := filepath.Join(dir, "key"), filepath.Join(dir, "pack")
	var out bytes.Buffer
	if _, err := Seal(&out, plain, id.Recipient()); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{key: []byte(id.String()), obj: out.Bytes()} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := exec.Command("age", "-d", "-i", key, obj).Output()
	if err != nil || !bytes.Equal(opened, plain) {
		t.Fatalf("age: %d bytes, %v", len(opened), err)
	}
	for _, flag := range []string{"-tq", "-dc"} {
		cmd := exec.Command("zstd", flag)
		cmd.Stdin = bytes.NewReader(opened)
		got, err := cmd.Output()
		if err != nil || flag == "-dc" && !bytes.Equal(got, bytes.Join(content, nil)) {
			t.Errorf("zstd %s: %d bytes, %v", flag, len(got), err)
		}
	}
}

func FuzzParseTable(f *testing.F) {
	b := NewBuilder(chunk.Data, scope, 0, 100_000)
	fill(b, rand.New(rand.NewPCG(3, 3)), 2, 100)
	frames := len(b.buf)
	plain, _ := b.Finish(signer(), false)
	f.Add(bytes.Clone(plain[frames:]), int64(len(plain)))
	f.Add([]byte("FIRNEND1"), int64(8))
	f.Fuzz(func(t *testing.T, in []byte, size int64) {
		table, pad, err := ParseTable(in, size)
		if err != nil {
			return
		}
		if !bytes.Equal(table.append(nil), in) || table.FramesSize()+pad+int64(len(in)) != size {
			t.Error("round trip")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	id := identity(b)
	plain := make([]byte, 32<<20)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for range b.N {
		if _, err := Seal(io.Discard, plain, id.Recipient()); err != nil {
			b.Fatal(err)
		}
	}
}
