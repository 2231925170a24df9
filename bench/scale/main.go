//go:build unix

// Command scale makes up repositories of very many files and measures what grows with them: the time, memory and requests of an unchanged backup, of listing a folder, of planning a restore and a prune; what this machine
// remembers, and what the repository costs.
//
//	go run ./bench/scale                                       # 100 thousand and a million files
//	go run ./bench/scale -files 100000,1000000,10000000 -dir /mnt/big -svg docs/scale.svg
//
// A file has 1 MB, so that ten million of them are 10 TB. The manifest, the indexes, the pack sets and the snapshot are real and lie in a real repository in a folder; the packs of content stand in the indexes only, for nothing that
// is measured reads them, and the tree is walked in memory, so that what is measured is firn and not a file system. Each step is a process of its own. It takes about 600 bytes of disk for each file.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"firn/internal/units"
)

func main() {
	var (
		files = flag.String("files", "100000,1000000", "numbers of files, with commas")
		dir   = flag.String("dir", "", "folder for the repositories, which are removed in the end (default: that for temporary files)")
		step  = flag.String("step", "", "do only this in an existing -dir, for -files files, and print it as JSON; "+strings.Join(stepNames(), ", "))
		leave = flag.String("leave-out", "", "steps that are left out, with commas: those of backups take 400 bytes of disk for each file")
		svg   = flag.String("svg", "", "draw the growth of CPU time into this file, that of memory into one beside it that ends in -memory.svg")
	)
	flag.Parse()
	if err := run(*files, *dir, *step, *leave, *svg); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(files, dir, step, leave, svg string) error {
	var counts []int
	for text := range strings.SplitSeq(files, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1000 {
			return fmt.Errorf("-files %q: want numbers from 1000 on", text)
		}
		counts = append(counts, n)
	}
	if step != "" {
		m, err := measure(context.Background(), &world{dir: dir, files: counts[0]}, step)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(m)
	}
	all := make([]*size, 0, len(counts))
	for _, n := range counts {
		s, err := sizeOf(dir, n, strings.Split(leave, ","))
		if err != nil {
			return fmt.Errorf("%d files: %w", n, err)
		}
		all = append(all, s)
		if err := s.print(); err != nil {
			return err
		}
	}
	if svg == "" {
		return nil
	}
	return errors.Join(os.WriteFile(svg, draw(all), 0o644), os.WriteFile(strings.TrimSuffix(svg, ".svg")+"-memory.svg", drawMemory(all), 0o644))
}

// size is all that was measured with one number of files.
type size struct {
	files int
	steps map[string]*figures
}

// sizeOf makes a repository and measures each step in a process of its own.
func sizeOf(parent string, files int, leave []string) (*size, error) {
	dir, err := os.MkdirTemp(parent, "firn-scale-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &size{files: files, steps: map[string]*figures{}}
	for _, name := range stepNames() {
		if slices.Contains(leave, name) {
			continue
		}
		cmd := exec.Command(self, "-dir", dir, "-files", strconv.Itoa(files), "-step", name)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m := new(figures)
		if err := json.Unmarshal(out, m); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s.steps[name] = m
		fmt.Fprintf(os.Stderr, "%d files, %s: %.2f s\n", files, name, m.Seconds)
	}
	return s, nil
}

func (s *size) print() error {
	fmt.Printf("\n%s files of 1 MB, %v\n\n", units.Count(int64(s.files)), units.Size(int64(s.files)*fileSize))
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "\tseconds\tCPU seconds\tpeak memory\tlist\tget\tput\tcost\t")
	for _, name := range stepNames() {
		m := s.steps[name]
		if m == nil {
			continue
		}
		fmt.Fprintf(out, "%s\t%.2f\t%.2f\t%v\t%d\t%d\t%d\t%v\t\n", name, m.Seconds, m.CPU, units.Size(m.Peak), m.Requests.List, m.Requests.Get, m.Requests.Put, m.Cost)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	h := s.steps[stepMake].Holds
	fmt.Printf("\nhot objects %v (index %v, manifests %v) and %d cold ones; a month costs %v\n", units.Size(h.Hot), units.Size(h.Index), units.Size(h.Meta), h.Cold, h.Month)
	if m := s.steps[stepAgain]; m != nil {
		fmt.Printf("this machine keeps %v (table of chunks %v, last manifest %v)\n", units.Size(m.Holds.Local), units.Size(m.Holds.Table), units.Size(m.Holds.Local-m.Holds.Table))
	}
	return nil
}

// below sums up the files below a folder.
func below(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if i, err := d.Info(); err == nil {
				n += i.Size()
			}
		}
		return nil
	})
	return n
}
