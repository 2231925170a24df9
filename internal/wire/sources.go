package wire

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
	"firn/internal/source/btrfs"
	"firn/internal/source/command"
	"firn/internal/source/mysql"
	"firn/internal/source/postgres"
	"firn/internal/source/subversion"
	"firn/internal/source/zfs"
)

// Kind is a kind of source, which a user writes as "name:rest".
type Kind struct {
	Name     string   // as specs have it
	Others   []string // names that are understood, too
	Origin   string   // as snapshots call it
	Rest     string   // what stands behind the colon, for people
	What     string   // what it is, half a line for people
	Settings []source.Setting

	open func(rest string, o *source.Settings, host source.Host) (source.Producer, error)
	take func(rest string, o *source.Settings) (source.Taker, error) // nil: there is nothing to write into
}

// Takes reports whether streams of this kind can be written back into what they came from.
func (k *Kind) Takes() bool { return k.take != nil }

// folder is the kind of what is written without a kind: a path.
const folder = "dir"

// Kinds returns all kinds but folders, in the order in which they are shown.
func Kinds() []Kind {
	return []Kind{
		{
			Name: "command", Origin: command.Kind, Rest: "NAME", What: "what a command prints, stored as NAME", Settings: command.Settings,
			open: func(rest string, o *source.Settings, host source.Host) (source.Producer, error) {
				return made(command.New(rest, o, host))
			},
		},
		{
			Name: "zfs", Origin: zfs.Kind, Rest: "DATASET", What: "a ZFS dataset or volume, as streams of zfs send, or its files", Settings: zfs.Settings,
			open: func(rest string, o *source.Settings, host source.Host) (source.Producer, error) {
				return made(zfs.New(rest, o, host))
			},
			take: func(rest string, o *source.Settings) (source.Taker, error) { return zfs.NewTaker(rest, o) },
		},
		{
			Name: "btrfs", Origin: btrfs.Kind, Rest: "SUBVOLUME", What: "a btrfs subvolume, as streams of btrfs send, or its files", Settings: btrfs.Settings,
			open: func(rest string, o *source.Settings, host source.Host) (source.Producer, error) {
				return made(btrfs.New(rest, o, host))
			},
			take: func(rest string, o *source.Settings) (source.Taker, error) { return btrfs.NewTaker(rest, o) },
		},
		{
			Name: "postgres", Others: []string{"postgresql"}, Origin: postgres.Kind, Rest: "DATABASE|all", What: "a PostgreSQL database, or all of a server, as dumps", Settings: postgres.Settings,
			open: func(rest string, o *source.Settings, host source.Host) (source.Producer, error) {
				return made(postgres.New(rest, o, host))
			},
			take: func(rest string, o *source.Settings) (source.Taker, error) { return postgres.NewTaker(rest, o) },
		},
		{
			Name: "mysql", Others: []string{"mariadb"}, Origin: mysql.Kind, Rest: "DATABASE|all", What: "a MySQL or MariaDB database, or all of a server, as dumps", Settings: mysql.Settings,
			open: func(rest string, o *source.Settings, host source.Host) (source.Producer, error) {
				return made(mysql.New(rest, o, host))
			},
			take: func(rest string, o *source.Settings) (source.Taker, error) { return mysql.NewTaker(rest, o) },
		},
		{
			Name: "svn", Others: []string{"subversion"}, Origin: subversion.Kind, Rest: "PATH", What: "a Subversion repository, or those in a folder, as dumps of what is new", Settings: subversion.Settings,
			open: func(rest string, o *source.Settings, host source.Host) (source.Producer, error) {
				return made(subversion.New(rest, o, host))
			},
			take: func(rest string, o *source.Settings) (source.Taker, error) { return subversion.NewTaker(rest, o) },
		},
	}
}

// made is what a constructor returns as the interface that it implements, nil where it failed.
func made[P source.Producer](p P, err error) (source.Producer, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// FolderSettings are the settings of folders and files.
func FolderSettings() []source.Setting {
	var own []source.Setting
	for _, s := range program.Common {
		if slices.Contains([]string{"before", "after", "read_from"}, s.Name) {
			own = append(own, s)
		}
	}
	return own
}

// Spec is a source as the user wrote it, taken apart.
type Spec struct {
	Kind string // name of a kind; "dir": a path
	Rest string
}

// String returns a text that ParseSpec reads as s.
func (s Spec) String() string {
	if s.Kind != folder {
		return s.Kind + ":" + s.Rest
	}
	if parsed, err := ParseSpec(s.Rest, nil); err != nil || parsed != s {
		return "./" + s.Rest
	}
	return s.Rest
}

// Origin is how snapshots call the kind of what a spec and its settings mean: reading files is another source than storing streams.
func (s Spec) Origin(values map[string]string) string {
	k, ok := kindOf(s.Kind)
	switch {
	case !ok:
		return s.Kind
	case values["mode"] == "files":
		return k.Origin + "-files"
	}
	return k.Origin
}

// Folder reports whether it is a path.
func (s Spec) Folder() bool { return s.Kind == folder }

// KindError tells that there is no such kind of source.
type KindError struct {
	Spec, Kind string
	Nearest    string // may be empty
}

func (e *KindError) Error() string {
	return fmt.Sprintf("%q: there is no kind of source %q; write %q for a folder of that name", e.Spec, e.Kind, "./"+e.Spec)
}

// ParseSpec reads "kind:rest" or a path. A text is a path where no two or more lower-case letters and a colon stand in front, or where there is no such kind and exists says that
// there is such a path; "./" in front makes anything a path. exists may be nil. It fails with *KindError, or where the rest is missing.
func ParseSpec(text string, exists func(path string) bool) (Spec, error) {
	if strings.ContainsRune(text, 0) {
		return Spec{}, fmt.Errorf("source %q: no text", text)
	}
	name, rest, found := strings.Cut(text, ":")
	if !found || len(name) < 2 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return Spec{folder, text}, nil
	}
	k, ok := kindOf(name)
	switch {
	case ok && rest == "":
		return Spec{}, fmt.Errorf("source %q: want %s:%s", text, k.Name, k.Rest)
	case ok:
		return Spec{k.Name, rest}, nil
	case exists != nil && exists(text):
		return Spec{folder, text}, nil
	}
	return Spec{}, &KindError{text, name, nearestKind(name)}
}

func kindOf(name string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Name == name || slices.Contains(k.Others, name) {
			return k, true
		}
	}
	return Kind{}, false
}

// nearestKind finds a kind that may have been meant.
func nearestKind(name string) string {
	var known []source.Setting
	for _, k := range Kinds() {
		for _, n := range append([]string{k.Name}, k.Others...) {
			known = append(known, source.Setting{Name: n})
		}
	}
	return source.Nearest(known, name)
}

// OpenSource makes the source of a spec, with the common settings obeyed around it. Its errors are about what the user wrote; nothing is run yet.
func OpenSource(s Spec, values map[string]string, host source.Host) (source.Producer, error) {
	if s.Folder() {
		o := source.NewSettings(FolderSettings(), values)
		return around(standing(s.Rest), nil, program.ReadHooks(o, host), o)
	}
	k, ok := kindOf(s.Kind)
	if !ok {
		return nil, &KindError{s.String(), s.Kind, nearestKind(s.Kind)}
	}
	o := source.NewSettings(k.Settings, values)
	p, err := k.open(s.Rest, o, host)
	return around(p, err, program.ReadAround(o, host), o)
}

// OpenExec makes the source of a program that is run without a shell.
func OpenExec(name string, args []string, values map[string]string, host source.Host) (source.Producer, error) {
	o := source.NewSettings(command.Settings, values)
	p, err := made(command.Exec(name, args, o, host))
	return around(p, err, program.ReadAround(o, host), o)
}

// OpenInput makes the source of what is read from r, such as standard input.
func OpenInput(name string, r io.Reader, values map[string]string, host source.Host) (source.Producer, error) {
	o := source.NewSettings(command.Settings, values)
	p, err := made(command.Input(name, r, o))
	return around(p, err, program.ReadAround(o, host), o)
}

func around(p source.Producer, err error, a program.Around, o *source.Settings) (source.Producer, error) {
	if err == nil {
		err = o.Err()
	}
	if err != nil {
		return nil, err
	}
	return program.With(p, a), nil
}

// standing is a folder or file that stands where it is.
type standing string

// Prepare implements source.Producer.
func (f standing) Prepare(context.Context, []source.Have) (*source.Batch, error) {
	return &source.Batch{Folder: string(f), Base: -1}, nil
}

// TakerError tells that nothing can be written back into a kind of source.
type TakerError struct{ Spec string }

func (e *TakerError) Error() string {
	return fmt.Sprintf("%q is nothing that streams can be written back into", e.Spec)
}

// OpenTaker makes what takes streams back. It fails with *KindError, *TakerError, or as the adapter does.
func OpenTaker(s Spec, values map[string]string) (source.Taker, error) {
	k, ok := kindOf(s.Kind)
	if !ok && !s.Folder() {
		return nil, &KindError{s.String(), s.Kind, nearestKind(s.Kind)}
	}
	if !k.Takes() {
		return nil, &TakerError{s.String()}
	}
	o := source.NewSettings(k.Settings, values)
	t, err := k.take(s.Rest, o)
	if err == nil {
		err = o.Err()
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}
