package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"firn/internal/source"
)

func settings(values ...string) *source.Settings {
	m := map[string]string{}
	for _, v := range values {
		name, value, _ := strings.Cut(v, "=")
		m[name] = value
	}
	return source.NewSettings(Settings, m)
}

// read prepares a source and reads its only stream.
func read(t *testing.T, s *Source) ([]byte, error) {
	t.Helper()
	b, err := s.Prepare(t.Context(), nil)
	if err != nil || len(b.Streams) != 1 || b.Base != -1 || b.End != nil || len(b.Points) != 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	r, err := b.Streams[0].Open(t.Context())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix shell")
	}
	var notes []string
	host := source.Host{Note: func(text string) { notes = append(notes, text) }}
	s, err := New("a/b.sql", settings("command=printf x; echo y; echo careful >&2"), host)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as often as one likes
		if out, err := read(t, s); string(out) != "xy\n" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	}
	if strings.Join(notes, ",") != "careful,careful" {
		t.Error(notes)
	}
	s, err = Exec("x", []string{"printf", "%s|", "a b", "$HOME"}, settings(), host)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := read(t, s); string(out) != "a b|$HOME|" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	s, err = New("x", settings("command=echo half; exit 4 # SECRET"), source.Host{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = read(t, s)
	var failed *source.ProducerError
	if !errors.As(err, &failed) || strings.Contains(err.Error(), "SECRET") || failed.Program != "command for x" {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	var name *NameError
	for _, bad := range []string{"", "/x", "../x", "a/../b", "a//b", "a/", ".", "a\nb", "a\x00", "\xff", strings.Repeat("x", 2000)} {
		if _, err := New(bad, settings("command=true"), source.Host{}); !errors.As(err, &name) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := Input(bad, nil, settings()); !errors.As(err, &name) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := New("x", settings("command= "), source.Host{}); err != ErrNoCommand {
		t.Error(err)
	}
	if _, err := Exec("x", nil, settings(), source.Host{}); err != ErrNoCommand {
		t.Error(err)
	}
	var setting *source.SettingError
	if _, err := New("x", settings("command=true", "timeout=soon"), source.Host{}); !errors.As(err, &setting) || setting.Name != "timeout" {
		t.Error(err)
	}
	if _, err := Exec("x", []string{"true"}, settings("command=true"), source.Host{}); !errors.As(err, &setting) {
		t.Error(err)
	}
	if _, err := Input("x", nil, settings("command=true")); !errors.As(err, &setting) {
		t.Error(err)
	}
}

// TestInput reads streams of all kinds of sizes through all kinds of readers.
func TestInput(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, pumpBuffer - 1, pumpBuffer, pumpBuffer + 1, pumpAhead * pumpBuffer, 3_000_000} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(rng.Uint32())
		}
		for name, r := range map[string]io.Reader{
			"plain": bytes.NewReader(content), "half": iotest.HalfReader(bytes.NewReader(content)), "eof with data": iotest.DataErrReader(bytes.NewReader(content)),
		} {
			s, err := Input("x", r, settings())
			if err != nil {
				t.Fatal(err)
			}
			out, err := read(t, s)
			if err != nil || !bytes.Equal(out, content) {
				t.Errorf("%s: %d of %d bytes, %v", name, len(out), size, err)
			}
			if _, err := read(t, s); err != source.ErrOnce {
				t.Errorf("a second time: %v", err)
			}
		}
	}
	why := errors.New("pipe is broken")
	s, _ := Input("x", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(why)), settings())
	if out, err := read(t, s); err != why || string(out) != "half" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestInputThatHangs: nobody waits for somebody who does not write.
func TestInputThatHangs(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	s, err := Input("x", in, settings())
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Prepare(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := b.Streams[0].Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = out.Write([]byte("abc"))
		cancel()
	}()
	got, err := io.ReadAll(r)
	if !errors.Is(err, context.Canceled) || string(got) != "abc" && string(got) != "" {
		t.Errorf("%q, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
