package frozen

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"firn/internal/repo"
)

// blocks are the commands of RECOVER.md, by the heading or the line above.
func blocks(t testing.TB, root string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "RECOVER.md"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		out = append(out, m[1])
	}
	return out
}

// shell runs commands in the folder of a repository.
func shell(t testing.TB, root, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-u", "-c", script)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var text string
		if e, ok := err.(*exec.ExitError); ok {
			text = string(e.Stderr)
		}
		t.Fatalf("%v\n%s\n%s%s", err, script, out, text)
	}
	return string(out)
}

// block is the one that contains a text.
func block(t testing.TB, root, with string) string {
	t.Helper()
	for _, b := range blocks(t, root) {
		if strings.Contains(b, with) {
			return b
		}
	}
	t.Fatalf("RECOVER.md has no commands with %q", with)
	return ""
}

// TestByHand follows RECOVER.md with nothing but a shell, age and zstd.
func TestByHand(t *testing.T) {
	need(t, "bash", "age", "zstd", "sha256sum", "od", "awk")
	for _, o := range []repo.InitOptions{smallChunks(repo.InitOptions{}), smallChunks(repo.InitOptions{Padding: true})} {
		w := newWorld(t, t.TempDir(), o)
		m := &maker{t: t, root: w.src, state: 3}
		for i := range 30 {
			m.file(fmt.Sprintf("docs/%02d", i), m.random(1+m.int(9000)), 0o644)
		}
		m.file("docs/large", m.random(700_000), 0o644)
		w.backup(nil)
		key, err := os.ReadFile(w.dataKey())
		w.must(err)
		w.must(os.WriteFile(filepath.Join(w.root, "d.key"), key, 0o600))

		open := regexp.MustCompile(`(?m)^show\(\).*$`).FindString(block(t, w.root, "show()")) + "\n"
		list := strings.SplitN(block(t, w.root, "for p in meta"), "\n", 2)[1]
		for _, name := range []string{"docs/07", "docs/29", "docs/large"} {
			var line struct{ Content [][3]any }
			if err := json.Unmarshal([]byte(shell(t, w.root, open+"FILE="+name+"\n"+list)), &line); err != nil {
				t.Fatal(err)
			}
			for _, p := range line.Content {
				set := fmt.Sprintf("CHUNK=%s OFFSET=%.0f LENGTH=%.0f\n", p[0], p[1], p[2])
				shell(t, w.root, open+set+block(t, w.root, `grep -bo "$CHUNK"`))
			}
			if sumFile(t, filepath.Join(w.root, "letter.txt")) != sumFile(t, m.path(name)) {
				t.Errorf("%s is not what it was", name)
			}
			w.must(os.Remove(filepath.Join(w.root, "letter.txt")))
		}
		check := strings.ReplaceAll(block(t, w.root, "sha256sum -c"), "cd REPO\n", "")
		shell(t, w.root, check)
		name, size := largest(t, w.root, "data")
		flip(t, filepath.Join(w.root, name), int(size)-1)
		if out, err := exec.Command("bash", "-c", "cd "+w.root+"\n"+check).CombinedOutput(); !strings.Contains(string(out), name) {
			t.Errorf("damage is not noticed: %v\n%s", err, out)
		}
	}
}

// TestPrograms looks at every object with sha256sum, age and zstd alone.
func TestPrograms(t *testing.T) {
	need(t, "bash", "age", "zstd", "sha256sum")
	w := newWorld(t, t.TempDir(), smallChunks(repo.InitOptions{}))
	m := &maker{t: t, root: w.src, state: 5}
	fillWorld(m)
	w.backup(nil)
	key := w.dataKey()
	plain := map[string]bool{"firn.json": true, "RECOVER.md": true, "recover.py": true}
	seen := map[string]int{}
	for _, name := range objects(t, w.root, "") {
		path := filepath.Join(w.root, name)
		kind, _, _ := strings.Cut(name, "/")
		seen[kind]++
		if sum := regexp.MustCompile(`[0-9a-f]{64}$`).FindString(name); sum != "" {
			if out, err := exec.Command("sha256sum", path).Output(); err != nil || !strings.HasPrefix(string(out), sum) {
				t.Errorf("%s: %v, %s", name, err, out)
			}
		} else if kind == "data" || kind == "meta" || kind == "index" || kind == "packset" || kind == "state" {
			t.Errorf("%s: no SHA-256 in its name", name)
		}
		if plain[name] || kind == "keys" {
			continue
		}
		script := `set -o pipefail; age -d -i "$1" "$2" > "$3" && zstd -tq < "$3" && zstd -dcq < "$3" | wc -c`
		cmd := exec.Command("bash", "-c", script, "-", key, path, filepath.Join(t.TempDir(), "plain"))
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) == "0" {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
	for _, kind := range []string{"keys", "hosts", "data", "meta", "index", "packset", "snapshots", "state"} {
		if seen[kind] == 0 {
			t.Errorf("no object in %s/", kind)
		}
	}
}
