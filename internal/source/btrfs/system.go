package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/program"
	"firn/internal/source"
)

// maxOutput bounds what a command may print, in bytes.
const maxOutput = 64 << 20

// quickIdle bounds a command that only asks or notes, where the user sets no bound.
const quickIdle = 15 * time.Minute

// DeniedError tells that the user may not do what is needed.
type DeniedError struct {
	What string // what was tried
	Err  error
}

func (e *DeniedError) Error() string { return fmt.Sprintf("not permitted: %v", e.Err) }

// Unwrap returns the reason.
func (e *DeniedError) Unwrap() error { return e.Err }

// TakenError tells that something is where a snapshot was to be taken.
type TakenError struct{ Snapshot string }

func (e *TakenError) Error() string { return fmt.Sprintf("%q exists already", e.Snapshot) }

// ReceivedError tells of a subvolume that was received from elsewhere and has not been written to since: streams of its snapshots all bear the UUID of the original, so none could be told from another.
type ReceivedError struct{ Subvolume string }

func (e *ReceivedError) Error() string {
	return fmt.Sprintf("subvolume %q was received from elsewhere, and all streams of it would be taken for the original; a writable snapshot of it can be stored, or its files", e.Subvolume)
}

// errStream tells that a stream is not what it should be.
var errStream = errors.New("this is not the stream that was asked for")

// system is the installed program.
type system struct {
	btrfs string
	idle  time.Duration // user's bound for all commands; 0: none
}

func (y *system) find() (err error) {
	y.btrfs, err = program.Find("btrfs")
	return err
}

// run runs btrfs for its effect. about is the path that errors speak of.
func (y *system) run(ctx context.Context, about string, args ...string) error {
	_, err := y.output(ctx, about, args...)
	return err
}

func (y *system) output(ctx context.Context, about string, args ...string) ([]byte, error) {
	idle := y.idle
	if idle == 0 {
		idle = quickIdle
	}
	out, err := program.Command{Name: y.btrfs, Args: args, Idle: idle}.Output(ctx, maxOutput)
	return out, explain(err, about, "btrfs "+strings.Join(args, " "))
}

// explain makes what the program said about a path into what it means.
func explain(err error, about, command string) error {
	switch {
	case said(err, "operation not permitted"), said(err, "permission denied"):
		return &DeniedError{What: command, Err: err}
	case said(err, "not a btrfs subvolume"), said(err, "not a subvolume"):
		return &source.MissingError{What: "subvolume", Name: about, Err: errors.New("that is a folder, not a subvolume")}
	case said(err, "not a btrfs filesystem"), said(err, "doesn't belong to btrfs"):
		return &source.MissingError{What: "subvolume", Name: about, Err: errors.New("that is no file system of btrfs")}
	}
	return err
}

// said reports whether a program failed with a text in what it said.
func said(err error, text string) bool {
	var failed *source.ProducerError
	return errors.As(err, &failed) && strings.Contains(strings.ToLower(failed.Stderr), text)
}

// state is a subvolume.
type state struct {
	path       string
	name       string // last part of the path
	uuid       string
	received   string // UUID of the subvolume that it was received from; empty: it was not, or not to the end
	creation   time.Time
	generation uint64 // when it was made
	readOnly   bool
	stored     bool
}

// show asks what a path is. It fails with *source.MissingError unless it is a subvolume.
func (y *system) show(ctx context.Context, path string) (*state, error) {
	out, err := y.output(ctx, path, "subvolume", "show", path)
	if err != nil {
		return nil, err
	}
	s := parseShow(string(out))
	s.path, s.name = path, filepath.Base(path)
	if s.uuid == "" {
		return nil, &source.ProducerError{Program: "btrfs subvolume show", Err: fmt.Errorf("it tells no UUID of %q", path)}
	}
	return s, nil
}

// parseShow reads what btrfs subvolume show prints.
func parseShow(text string) *state {
	s := &state{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		if !ok || value == "-" {
			continue
		}
		switch strings.ToLower(name) {
		case "uuid":
			s.uuid = parseUUID(value)
		case "received uuid":
			s.received = parseUUID(value)
		case "creation time":
			s.creation, _ = time.Parse("2006-01-02 15:04:05 -0700", value)
		case "gen at creation":
			s.generation, _ = strconv.ParseUint(value, 10, 64)
		case "flags":
			s.readOnly = strings.Contains(value, "readonly")
		}
	}
	return s
}

// parseUUID returns a UUID in lower case; empty: that is none.
func parseUUID(s string) string {
	if len(s) != 36 || strings.Trim(s, "0123456789abcdefABCDEF-") != "" {
		return ""
	}
	return strings.ToLower(s)
}

// states are the subvolumes in a folder, old to new. A folder that is not there has none.
func (y *system) states(ctx context.Context, folder string) (list []*state, err error) {
	names, err := readNames(folder)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		path := filepath.Join(folder, n)
		if !isSubvolume(path) {
			continue
		}
		s, err := y.show(ctx, path)
		if err != nil {
			return nil, err
		}
		s.stored = slices.Contains(names, n+storedMark)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *state) int {
		if a.generation != b.generation {
			if a.generation < b.generation {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return list, nil
}

// readNames returns the names in a folder, at most maxNames.
func readNames(folder string) ([]string, error) {
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(maxNames)
	if len(names) > 0 || err == nil {
		return names, nil
	}
	return nil, nil // it is empty
}

// find finds a state by its UUID; nil: there is none.
func find(list []*state, uuid string) *state {
	for _, s := range list {
		if s.uuid == uuid && s.readOnly {
			return s
		}
	}
	return nil
}

// mountPoint reports whether a file system is mounted at a path. Where nobody can tell it is taken for none.
func mountPoint(path string) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return path == "/"
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && unescape(f[4]) == path {
			return true
		}
	}
	return false
}

// unescape reads the octal escapes of mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
