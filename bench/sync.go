//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"firn/internal/coldtest"
)

// syncWord, as the first argument, measures firn sync beside other programs that mirror a folder to a bucket:
//
//	go run ./bench sync --dir /var/tmp/bench --rounds 3 --tool s5cmd=/opt/s5cmd
//
// Each measurement of a first upload has a server of its own that begins empty: coldtest inside the harness, or versitygw as a process (--server). For "unchanged" firn fills one bucket with
// --metadata, by which all of them see that nothing has changed, and then they take turns. The processor time of the server stands beside that of the program: what of both is larger on few cores was the bottleneck.
// Requests are counted where coldtest is the server.
const syncWord = "sync"

// syncOptions are what the command line says.
type syncOptions struct {
	dir, firn, server, only, json string
	versitygw                     string
	small, unchanged, large       int
	largeSize                     int64 // MB each
	rounds, slowRounds            int
	timeout, settle               time.Duration
	tools                         map[string]string
}

func parseSyncOptions(args []string, stderr io.Writer) (*syncOptions, error) {
	o := &syncOptions{tools: map[string]string{}}
	fs := flag.NewFlagSet("bench sync", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.dir, "dir", "", "folder for files and what servers keep (default: a temporary folder, removed)")
	fs.StringVar(&o.firn, "firn", "", "firn program to measure (default: built from this checkout)")
	fs.StringVar(&o.server, "server", "coldtest", "coldtest or versitygw")
	fs.StringVar(&o.versitygw, "versitygw", "versitygw", "program of that server")
	fs.StringVar(&o.only, "only", "", "comma-separated tool/phase filters; phases are small, large, unchanged")
	fs.StringVar(&o.json, "json", "", "also write all measurements to this file")
	fs.IntVar(&o.small, "small", 20_000, "small files of the first upload, 1 to 16 KB")
	fs.IntVar(&o.large, "large", 8, "large files of the first upload")
	fs.Int64Var(&o.largeSize, "large-size", 250, "size of each of them, in MB")
	fs.IntVar(&o.unchanged, "unchanged", 300_000, "files of the sync of what is there already, 64 bytes each")
	fs.IntVar(&o.rounds, "rounds", 3, "how often everything is done; medians are printed")
	fs.IntVar(&o.slowRounds, "slow-rounds", 1, "the same for aws and s3cmd")
	fs.DurationVar(&o.timeout, "timeout", 30*time.Minute, "longest time for one command")
	fs.DurationVar(&o.settle, "settle", 3*time.Second, "how old files are at least when they are first sent")
	fs.Func("tool", "program to use as name=path, name being rclone, s5cmd, aws or s3cmd; repeatable (default: what is on PATH)", func(s string) error {
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
	if fs.NArg() > 0 || o.rounds < 1 || o.server != "coldtest" && o.server != "versitygw" {
		return nil, errors.New("unexpected arguments: see --help")
	}
	return o, nil
}

// syncMeasured is one program in one phase of one round.
type syncMeasured struct {
	Phase     string         `json:"phase"`
	Tool      string         `json:"tool"`
	Round     int            `json:"round"`
	Usage     usage          `json:"usage"`
	ServerCPU float64        `json:"server_cpu_s"`
	Requests  map[string]int `json:"requests,omitempty"`
	Load      float64        `json:"load"` // of the machine, before
	Err       string         `json:"error,omitempty"`
}

// syncBench is one run.
type syncBench struct {
	*syncOptions
	log   io.Writer
	tools []syncTool
	work  string
	all   []syncMeasured
}

func runSync(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parseSyncOptions(args, stderr)
	if err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "firn-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	b := &syncBench{syncOptions: o, log: stderr}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp(o.dir, "sync-work-"); err != nil { // another harness may be at work beside
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.work)) }()
	if o.firn == "" {
		if o.firn, err = buildFirn(ctx, b.work); err != nil {
			return err
		}
	}
	b.tools = b.find()
	for _, phase := range []struct {
		name string
		run  func(ctx context.Context) error
	}{{"small", b.first("small", b.small, func(r *rand.Rand) int64 { return 1000 + r.Int64N(15_000) })}, {"large", b.first("large", b.large, func(*rand.Rand) int64 { return b.largeSize * 1e6 })}, {"unchanged", b.again}} {
		if !b.wants("", phase.name) {
			continue
		}
		if err := phase.run(ctx); err != nil {
			b.print(stdout)
			return fmt.Errorf("%s: %w", phase.name, err)
		}
	}
	b.print(stdout)
	if o.json == "" {
		return nil
	}
	raw, err := json.MarshalIndent(b.all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(raw, '\n'), 0o644)
}

// wants reports whether a filter lets a tool and a phase through; an empty tool is any.
func (b *syncBench) wants(tool, phase string) bool {
	if b.only == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(b.only, ","), func(f string) bool {
		t, p, _ := strings.Cut(f, "/")
		return (t == "" || tool == "" || t == tool) && (p == "" || p == phase)
	})
}

// files makes a folder of n files, 1,000 to a folder, once.
func (b *syncBench) files(name string, n int, size func(*rand.Rand) int64) (string, error) {
	root := filepath.Join(b.dir, fmt.Sprintf("sync-%s-%d", name, n))
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	fmt.Fprintf(b.log, "%s: making %d files\n", name, n)
	tmp := root + ".making"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	src := rand.NewChaCha8([32]byte{1})
	for i := range n {
		p := filepath.Join(tmp, fmt.Sprintf("d%03d", i/1000), fmt.Sprintf("f%06d.bin", i))
		if i%1000 == 0 {
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				return "", err
			}
		}
		f, err := os.Create(p)
		if err != nil {
			return "", err
		}
		_, err = io.CopyN(f, src, size(rng))
		if err := errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	}
	time.Sleep(b.settle) // so that no file is as young as its upload
	return root, os.Rename(tmp, root)
}

// first is a phase in which everything is sent, each time to an empty server.
func (b *syncBench) first(name string, n int, size func(*rand.Rand) int64) func(context.Context) error {
	return func(ctx context.Context) error {
		src, err := b.files(name, n, size)
		if err != nil {
			return err
		}
		for round := 1; round <= b.rounds; round++ {
			for _, t := range b.tools {
				if !b.wants(t.name, name) || t.slow && round > b.slowRounds {
					continue
				}
				s, err := b.serve(ctx)
				if err != nil {
					return err
				}
				home := filepath.Join(b.work, "home")
				err = errors.Join(os.RemoveAll(home), os.MkdirAll(home, 0o755))
				if err == nil {
					b.measure(ctx, s, t, name, round, src, home)
				}
				if err := errors.Join(err, s.stop(), ctx.Err()); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// again is a phase in which nothing has changed.
func (b *syncBench) again(ctx context.Context) (err error) {
	const name = "unchanged"
	src, err := b.files(name, b.unchanged, func(*rand.Rand) int64 { return 64 })
	if err != nil {
		return err
	}
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	home := filepath.Join(b.work, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	fill := b.tools[0]
	if u, err := execute(ctx, fill.command(b, s, src, home, "--metadata"), b.timeout); err != nil {
		return err
	} else {
		fmt.Fprintf(b.log, "%s: filled in %.1f s\n", name, u.Wall)
	}
	for round := 1; round <= b.rounds; round++ {
		for _, t := range b.tools {
			if b.wants(t.name, name) && (!t.slow || round <= b.slowRounds) {
				b.measure(ctx, s, t, name, round, src, home)
			}
		}
		if lost := b.tools[0]; b.wants("firn, no memory", name) {
			lost.name = "firn, no memory"
			fresh := filepath.Join(b.work, "fresh")
			if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil {
				return err
			}
			b.measure(ctx, s, lost, name, round, src, fresh)
		}
	}
	return ctx.Err()
}

// measure runs one program.
func (b *syncBench) measure(ctx context.Context, s *syncServer, t syncTool, phase string, round int, src, home string) {
	m := syncMeasured{Phase: phase, Tool: t.name, Round: round, Load: load()}
	if s.cold != nil {
		s.cold.ForgetRequests()
	}
	before := s.cpu()
	u, err := execute(ctx, t.command(b, s, src, home), b.timeout)
	m.Usage, m.ServerCPU = u, s.cpu()-before
	if err != nil {
		m.Err = err.Error()
	}
	if s.cold != nil {
		m.Requests = map[string]int{}
		for _, r := range s.cold.Requests() {
			m.Requests[r.Operation]++
		}
	}
	b.all = append(b.all, m)
	fmt.Fprintf(b.log, "%s %s %d: %.1f s, server %.1f s CPU, load %.1f %v %.300s\n", phase, t.name, round, u.Wall, m.ServerCPU, m.Load, m.Requests, m.Err)
}

// print prints medians.
func (b *syncBench) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\tphase\ttool\trounds\twall s\tCPU s\tserver CPU s\tRSS MiB\trequests\tload\t\n", b.server)
	type key struct{ phase, tool string }
	groups, order := map[key][]syncMeasured{}, []key{}
	for _, m := range b.all {
		k := key{m.Phase, m.Tool}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], m)
	}
	for _, k := range order {
		var wall, cpu, server, requests, loads []float64
		var rss []int64
		failed := ""
		for _, m := range groups[k] {
			if m.Err != "" {
				failed = " failed"
				continue
			}
			n := 0
			for _, c := range m.Requests {
				n += c
			}
			wall, cpu, server = append(wall, m.Usage.Wall), append(cpu, m.Usage.User+m.Usage.System), append(server, m.ServerCPU)
			rss, requests, loads = append(rss, m.Usage.RSS), append(requests, float64(n)), append(loads, m.Load)
		}
		fmt.Fprintf(w, "\t%s\t%s%s\t%d\t%.1f\t%.1f\t%.1f\t%d\t%.0f\t%.0f\t\n", k.phase, k.tool, failed, len(wall), median(wall), median(cpu), median(server), median(rss)>>20, median(requests), median(loads))
	}
	_ = w.Flush()
}

// load is the load average of the last minute; 0 where the system does not tell.
func load() (l float64) {
	raw, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(raw), &l)
	return l
}

// syncServer is a server under way, with a bucket "bench".
type syncServer struct {
	endpoint, host string
	cold           *coldtest.Server // nil: another program
	pid            int
	stop           func() error
}

const (
	syncAccess = "BENCHACCESS"
	syncSecret = "benchsecretbenchsecret"
	syncBucket = "bench"
)

// serve starts an empty server.
func (b *syncBench) serve(ctx context.Context) (*syncServer, error) {
	folder := filepath.Join(b.work, "server")
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(filepath.Join(folder, syncBucket), 0o755)); err != nil {
		return nil, err
	}
	gone := func() error { return os.RemoveAll(folder) }
	if b.server == "coldtest" {
		s, err := coldtest.Listen(coldtest.Options{Clock: coldtest.Real{}, Folder: folder, Users: []coldtest.User{{Access: syncAccess, Secret: syncSecret}}})
		if err != nil {
			return nil, err
		}
		s.CreateBucket(syncBucket)
		return &syncServer{endpoint: s.Endpoint(), host: strings.TrimPrefix(s.Endpoint(), "http://"), cold: s, stop: func() error { return errors.Join(s.Close(), gone()) }}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	host := l.Addr().String()
	_ = l.Close()
	cmd := exec.CommandContext(ctx, b.versitygw, "--port", host, "--region", "us-east-1", "--access", syncAccess, "--secret", syncSecret, "--keep-alive", "--quiet", "posix", folder)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &syncServer{endpoint: "http://" + host, host: host, pid: cmd.Process.Pid}
	s.stop = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // a server that is told to end
		return gone()
	}
	for range 600 {
		c, err := net.Dial("tcp", host)
		if err == nil {
			return s, c.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, errors.Join(errors.New("versitygw does not answer"), s.stop())
}

// cpu is the processor time that the server has had, in seconds; that of coldtest is the harness's own.
func (s *syncServer) cpu() float64 {
	if s.cold != nil {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	var user, system float64
	_, _ = fmt.Sscan(f[11], &user)
	_, _ = fmt.Sscan(f[12], &system)
	return (user + system) / 100 // clock ticks of Linux
}
