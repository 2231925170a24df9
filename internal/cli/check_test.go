package cli_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/coldtest"
)

// Whatever is damaged, and however, a check that reads everything says so and names the object.
func TestCheckDamage(t *testing.T) {
	h := newHurt(t)
	for _, kind := range []string{"data", "meta", "index", "packset", "snapshots", "snapshots*.done", "hosts", "keys*.age", "firn.json"} {
		for _, how := range []string{"cut", "flipped", "gone"} {
			if testing.Short() && how != "flipped" {
				continue
			}
			name := strings.NewReplacer("*.", "-", ".", "-").Replace("check-" + kind + "-" + how)
			t.Run(name, func(t *testing.T) {
				c := &hurt{terminal: h.terminal, ids: h.ids}
				c.t = t
				c.copyOf(name)
				c.at(name)
				c.damage(name, kind, how)
				out, errs, code := c.run("check", "--read-data", "--identity", "key.txt")
				area, _, _ := strings.Cut(kind, "*")
				if code != 1 || !strings.Contains(out+errs, area) || !strings.Contains(errs, "firn: hint: ") {
					t.Errorf("code %d\n%s%s", code, out, errs)
				}
			})
		}
	}
}

// Below a thaw nothing cold is read; with one, all is, at a price that is seen before; and it is done once.
func TestCheckCold(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 6)
	x.begin("DEEP_ARCHIVE")
	packs := x.packs()
	x.server.ForgetRequests() // of a probe
	for _, args := range [][]string{{"check"}, {"check", "--listing"}, {"check", "--sums=50%", "--yes"}, {"check", "--sums", "--read-data", "--yes"}, {"check", "--read-data", "--thaw", "--plan"}, {"check", "--no-key", "--sums", "--read-data", "--yes"}} {
		if out := x.ok(append(args, "--identity", "key.txt")...); !strings.Contains(out, "nothing is damaged") && !strings.Contains(out, "bulk") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	x.untouched("check")
	if _, errs, code := x.run("check", "--sums", "--identity", "key.txt"); code != 1 || !strings.Contains(errs, "--yes") {
		t.Errorf("nobody was asked: %d\n%s", code, errs)
	}
	if _, errs, code := x.run("check", "--thaw", "--max-cost", "0.0000001", "--identity", "key.txt"); code != 1 || !strings.Contains(errs, "more than the limit") {
		t.Errorf("past the limit: %d\n%s", code, errs)
	}
	x.thaws()
	out := x.ok("check", "--thaw", "--tier", "bulk", "--yes", "--poll", "200ms", "--json", "--identity", "key.txt")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var last struct {
		Event      string
		Damaged    int
		Packs      int `json:"packs"`
		PacksTotal int `json:"packs_total"`
		PacksEver  int `json:"packs_ever_read"`
		Volumes    int
		Thaw       struct{ State string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Event != "checked" || last.Damaged != 0 || last.Packs < len(packs) || last.PacksEver != last.PacksTotal || last.Thaw.State != "done" {
		t.Errorf("%+v, %d packs in the cold class\n%s", last, len(packs), out)
	}
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid == 0 {
		t.Errorf("%d paid, twice %v", paid, twice)
	}

	// What rots in the cold class keeps its stored sum: only reading shows it, and from then on every check says so.
	rotten := packs[1]
	if err := x.server.Change(coldBucket, rotten, coldtest.Change{Corrupt: true}); err != nil {
		t.Fatal(err)
	}
	object := strings.TrimPrefix(rotten, coldRoot)
	x.ok("check", "--sums", "--yes", "--identity", "key.txt")
	for _, args := range [][]string{{"--thaw", "--tier", "bulk", "--yes", "--poll", "200ms"}, {"--listing"}} {
		out, errs, code := x.run(append([]string{"check", "--identity", "key.txt"}, args...)...)
		if code != 1 || !strings.Contains(out, "damaged: "+object+"\n") || !strings.Contains(out, "hurts: snapshot") || strings.Count(out, "do: ") != 1 {
			t.Errorf("%v: %d\n%s%s", args, code, out, errs)
		}
	}
}

// A check leaves nothing behind on disk but what it remembers.
func TestCheckLeavesNothing(t *testing.T) {
	h := newHurt(t)
	h.ok("check", "--read-data", "--identity", "key.txt")
	found, err := filepath.Glob(filepath.Join(h.dir, "whole", "cache", "*", "chunks", "check-*"))
	if err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}
