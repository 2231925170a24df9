//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// password is the same for all; nothing that is stored outlives the run.
const password = "correct horse battery staple"

// place is where one program works on one corpus: its program, source, repository, home (settings, caches) and restore target.
type place struct {
	bin, src, repo, home, target string
}

// kind is how to drive a program. Commands of setup and reset are not measured.
type kind struct {
	name    string
	program string
	version []string
	env     []string // $HOME and $REPO are replaced
	setup   func(p place) []command
	backup  func(p place, phase string) command
	reset   func(p place) []command // before a restore
	restore func(p place, backups []string) command
}

// tool is a kind with the program to run.
type tool struct {
	kind
	label   string // what is printed
	bin     string
	release string
}

func kinds() []kind {
	return []kind{firnKind(), resticKind("restic", "auto"), resticKind("restic-fastest", "fastest"), kopiaKind(), borgKind(), duplicacyKind(), pipeKind()}
}

func firnKind() kind {
	return kind{
		name: "firn", program: "firn", version: []string{"version"},
		env: []string{"FIRN_PASSPHRASE=" + password, "FIRN_CACHE_DIR=$HOME/cache", "FIRN_STATE_DIR=$HOME/state"},
		setup: func(p place) []command {
			return []command{{args: []string{p.bin, "init", p.repo, "--kit-saved"}}}
		},
		backup: func(p place, _ string) command {
			return command{args: []string{p.bin, "backup", p.src, "--repo", p.repo, "-q"}}
		},
		restore: func(p place, _ []string) command {
			return command{args: []string{p.bin, "restore", "latest", "--repo", p.repo, "--target", p.target, "-q"}}
		},
	}
}

func resticKind(name, compression string) kind {
	return kind{
		name: name, program: "restic", version: []string{"version"},
		env: []string{"RESTIC_PASSWORD=" + password, "RESTIC_REPOSITORY=$REPO", "RESTIC_CACHE_DIR=$HOME/cache", "RESTIC_COMPRESSION=" + compression},
		setup: func(p place) []command {
			return []command{{args: []string{p.bin, "init", "-q"}}}
		},
		backup: func(p place, _ string) command {
			return command{args: []string{p.bin, "backup", "-q", p.src}}
		},
		restore: func(p place, _ []string) command {
			return command{args: []string{p.bin, "restore", "-q", "latest:" + p.src, "--target", p.target}}
		},
	}
}

func kopiaKind() kind {
	return kind{
		name: "kopia", program: "kopia", version: []string{"--version"},
		env: []string{"KOPIA_PASSWORD=" + password, "KOPIA_CONFIG_PATH=$HOME/kopia.config", "KOPIA_CACHE_DIRECTORY=$HOME/cache",
			"KOPIA_LOG_DIR=$HOME/log", "KOPIA_CHECK_FOR_UPDATES=false", "KOPIA_USE_KEYRING=false"},
		setup: func(p place) []command {
			return []command{
				{args: []string{p.bin, "repository", "create", "filesystem", "--path=" + p.repo, "--no-check-for-updates"}},
				{args: []string{p.bin, "policy", "set", "--global", "--compression=zstd-fastest"}},
			}
		},
		backup: func(p place, _ string) command {
			return command{args: []string{p.bin, "snapshot", "create", "--no-progress", p.src}}
		},
		restore: func(p place, _ []string) command {
			return command{args: []string{p.bin, "snapshot", "restore", "--no-progress", "--snapshot-time=latest", p.src, p.target}}
		},
	}
}

func borgKind() kind {
	return kind{
		name: "borg", program: "borg", version: []string{"--version"},
		env: []string{"BORG_PASSPHRASE=" + password, "BORG_BASE_DIR=$HOME", "BORG_REPO=$REPO"},
		setup: func(p place) []command {
			return []command{{args: []string{p.bin, "init", "--encryption=repokey-blake2"}}}
		},
		backup: func(p place, phase string) command {
			return command{args: []string{p.bin, "create", "--compression=zstd,1", "::" + phase, "."}, dir: p.src}
		},
		restore: func(p place, backups []string) command {
			return command{args: []string{p.bin, "extract", "::" + backups[len(backups)-1]}, dir: p.target}
		},
	}
}

// duplicacyKind restores into a second repository, in its words, with the same id.
func duplicacyKind() kind {
	setup := func(p place, name, root string) []command {
		dir := filepath.Join(p.home, name)
		return []command{
			{args: []string{"mkdir", "-p", dir, p.repo}},
			{args: []string{p.bin, "init", "-e", "-repository", root, "bench", p.repo}, dir: dir},
		}
	}
	return kind{
		name: "duplicacy", program: "duplicacy", version: []string{"-help"},
		env:   []string{"DUPLICACY_PASSWORD=" + password},
		setup: func(p place) []command { return setup(p, "source", p.src) },
		backup: func(p place, _ string) command {
			return command{args: []string{p.bin, "-background", "backup", "-threads", "2"}, dir: filepath.Join(p.home, "source")}
		},
		reset: func(p place) []command { return setup(p, "target", p.target) },
		restore: func(p place, backups []string) command {
			return command{args: []string{p.bin, "-background", "restore", "-r", fmt.Sprint(len(backups)), "-threads", "2"}, dir: filepath.Join(p.home, "target")}
		},
	}
}

// pipeKind is what a script does: GNU tar with its list of what it has seen, zstd, age; a file for each backup.
func pipeKind() kind {
	sh := func(script string, args ...string) command {
		return command{args: append([]string{"bash", "-c", "set -euo pipefail; " + script, "pipe"}, args...)}
	}
	return kind{
		name: "pipe", program: "age", version: []string{"--version"},
		setup: func(p place) []command {
			return []command{sh(`mkdir "$1" && age-keygen -o "$2/key" 2>/dev/null && age-keygen -y "$2/key" >"$2/recipient"`, p.repo, p.home)}
		},
		backup: func(p place, phase string) command {
			return sh(`tar --no-check-device -g "$1/list" -C "$2" -cf - . | zstd -q -1 -T2 | "$3" -R "$1/recipient" -o "$4"`,
				p.home, p.src, p.bin, filepath.Join(p.repo, phase+".tar.zst.age"))
		},
		restore: func(p place, backups []string) command {
			return sh(`cd "$1"; shift; for b; do "$bin" -d -i "$home/key" "$repo/$b.tar.zst.age" | zstd -q -dc | tar -g /dev/null -xpf -; done`, append([]string{p.target}, backups...)...).
				with("bin="+p.bin, "home="+p.home, "repo="+p.repo)
		},
	}
}

func (c command) with(env ...string) command {
	c.env = append(c.env, env...)
	return c
}

// environment is all that a tool sees of ours.
func (k *kind) environment(p place) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "TMPDIR=" + filepath.Join(p.home, "tmp"), "LANG=C.UTF-8", "TZ=UTC"}
	for _, v := range k.env {
		env = append(env, strings.NewReplacer("$HOME", p.home, "$REPO", p.repo).Replace(v))
	}
	return env
}

// findTools returns the tools that are there and that the filter wants; firn is the first.
func findTools(ctx context.Context, o *options, want filter, work string) ([]*tool, error) {
	labels := map[string]string{}
	for _, k := range kinds() {
		if k.name == "firn" {
			continue // never the one on PATH by chance
		}
		if bin, err := exec.LookPath(k.program); err == nil {
			labels[k.name] = bin
		}
	}
	maps.Copy(labels, o.tools)
	if o.tools["restic"] != "" && o.tools["restic-fastest"] == "" {
		labels["restic-fastest"] = o.tools["restic"]
	}
	if err := addFirn(ctx, o, want, work, labels); err != nil {
		return nil, err
	}
	var out []*tool
	for _, k := range kinds() {
		for _, label := range slices.Sorted(maps.Keys(labels)) {
			if name, _, _ := strings.Cut(label, "@"); name != k.name || !want.match(label, "", "") {
				continue
			}
			t, err := newTool(ctx, k, label, labels[label])
			if err != nil {
				return nil, err
			}
			out = append(out, t)
		}
	}
	for label := range o.tools {
		if want.match(label, "", "") && !slices.ContainsFunc(out, func(t *tool) bool { return t.label == label }) {
			return nil, fmt.Errorf("tool %q: unknown", label)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no tool to run")
	}
	return out, nil
}

func addFirn(ctx context.Context, o *options, want filter, work string, labels map[string]string) (err error) {
	switch {
	case o.firn == "none" || labels["firn"] != "" || !want.match("firn", "", ""):
		return nil
	case o.firn != "":
		labels["firn"] = o.firn
		return nil
	}
	labels["firn"], err = buildFirn(ctx, work)
	return err
}

var releaseWord = regexp.MustCompile(`\d+\.\d+[\w.-]*`)

func newTool(ctx context.Context, k kind, label, bin string) (*tool, error) {
	bin, err := exec.LookPath(bin)
	if err != nil {
		return nil, fmt.Errorf("tool %s: %w", label, err)
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	t := &tool{kind: k, label: label, bin: bin}
	cmd := exec.CommandContext(ctx, bin, k.version...)
	cmd.Env = []string{"HOME=" + os.TempDir(), "PATH=" + os.Getenv("PATH")}
	b, _ := cmd.Output() // not all agree on the exit code
	t.release, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	if !strings.ContainsAny(t.release, "0123456789") { // a help page
		t.release = releaseWord.FindString(string(b))
	}
	return t, nil
}
