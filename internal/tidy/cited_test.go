package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// cited is a test as documents name it: package.TestName.
var cited = regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestCited: a test that docs/SECURITY.md names as proof of a claim is there. Only the last part of a package's path is written, so one package of that name has to have it.
func TestCited(t *testing.T) {
	root := moduleRoot(t)
	page, err := os.ReadFile(filepath.Join(root, "docs", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, name := range files(t, root) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			continue // gone since it was listed
		}
		for _, m := range function.FindAllSubmatch(raw, -1) {
			there[filepath.Base(filepath.Dir(name))+"."+string(m[1])] = true
		}
	}
	all := cited.FindAllSubmatch(page, -1)
	if len(all) < 50 {
		t.Errorf("%d tests are named: the page has lost its proofs, or this test cannot read it", len(all))
	}
	for _, m := range all {
		if one := string(m[1]) + "." + string(m[2]); !there[one] {
			t.Errorf("docs/SECURITY.md names %s, which is not there", one)
		}
	}
}
