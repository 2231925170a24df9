//go:build unix

// Bench runs firn beside other backup programs on the same files and prints what each of them needed.
//
//	go run ./bench --dir /var/tmp/bench --rounds 3
//	go run ./bench --only firn/src,restic/src --tool restic=/opt/restic/restic --json out.json
//
// With the word sync as its first argument it measures firn sync beside programs that mirror a folder to a bucket: see sync.go.
//
// The corpora are built once under --dir, mostly from files that lie on the machine, and reused by later runs; so numbers of two machines
// do not compare, those of one run do. Each round gives every program a new repository in a local folder and takes it
// through the phases first, unchanged, edited (one file in a hundred; of the image 200 blocks and one insertion) and restore, phase by phase with all programs in turn.
// Every restored tree is compared with its source. Everything is encrypted; page cache is warm; nothing is sent anywhere.
//
// Wall time, CPU (user and system) and peak resident memory come from wait4 on the program and what it waited for. The memory of several
// processes of a pipe is that of the largest. Stored and added are the sizes of the files of the repository; MB are 10^6 bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == measureWord {
		os.Exit(measureChild(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if len(os.Args) > 1 && os.Args[1] == syncWord {
		err = runSync(ctx, os.Args[2:], os.Stdout, os.Stderr)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	dir      string
	firn     string
	only     string
	json     string
	scale    float64
	rounds   int
	timeout  time.Duration
	maxDisk  int64 // GB
	noVerify bool
	noWait   bool
	tools    map[string]string // name, or kind@label, to path
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{tools: map[string]string{}}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.dir, "dir", "", "folder for corpora and repositories; corpora stay there for the next run (default: a temporary folder, removed)")
	fs.StringVar(&o.firn, "firn", "", "firn program to measure, or none (default: built from this checkout)")
	fs.StringVar(&o.only, "only", "", "comma-separated tool/corpus/phase filters; an empty or missing part matches all")
	fs.StringVar(&o.json, "json", "", "also write all measurements to this file, - for standard output instead of the table")
	fs.Float64Var(&o.scale, "scale", 1, "size of the corpora, 1 is full size")
	fs.IntVar(&o.rounds, "rounds", 3, "how often everything is done; medians are printed")
	fs.DurationVar(&o.timeout, "timeout", 20*time.Minute, "longest time for one command")
	fs.Int64Var(&o.maxDisk, "max-disk", 30, "most disk space to use, in GB")
	fs.BoolVar(&o.noVerify, "no-verify", false, "do not compare what was restored with its source")
	fs.BoolVar(&o.noWait, "no-wait", false, "restore at once, even if an earlier run removed many files within the last minutes, which slows some file systems down")
	fs.Func("tool", "program to use as name=path, name being firn, restic, restic-fastest, kopia, borg, duplicacy or pipe, or name@label to run one tool in two versions; repeatable (default: what is on PATH)", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return errors.New("want name=path")
		}
		o.tools[name] = path
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.scale <= 0 || o.scale > 1 || o.rounds < 1 {
		return nil, errors.New("scale must lie in (0, 1] and rounds be at least 1")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "firn-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, removeAll(o.dir)) }()
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	want, err := parseFilter(o.only)
	if err != nil {
		return err
	}
	work := filepath.Join(o.dir, "work")
	if err := errors.Join(removeWork(o.dir, work), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeWork(o.dir, work)) }()
	tools, err := findTools(ctx, o, want, work)
	if err != nil {
		return err
	}
	b := &bench{opt: o, want: want, tools: tools, work: work, log: stderr}
	if err := b.checkDisk(); err != nil {
		return err
	}
	runErr := b.all(ctx)
	return errors.Join(runErr, b.write(stdout))
}

// buildFirn compiles the checkout in which the harness runs.
func buildFirn(ctx context.Context, work string) (string, error) {
	bin := filepath.Join(work, "firn")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "firn/cmd/firn")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building firn (give --firn PATH, or --firn none): %w\n%s", err, out)
	}
	return bin, nil
}

// removeAll is os.RemoveAll for trees with folders that nobody may write, as tools restore them.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
