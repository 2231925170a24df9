package tidy

import (
	"fmt"
	"strings"
	"testing"
)

// TestRulesFind gives each rule something to find, and something to leave alone.
func TestRulesFind(t *testing.T) {
	long := "package cdc\n\nfunc f() {\n" + strings.Repeat("\tf()\n", maxLines-1) + "}\n"
	fits := "package cdc\n\nfunc f() {\n" + strings.Repeat("\tf()\n", maxLines-2) + "}\n"
	for _, c := range []struct {
		name, src, want string // want: part of the one finding; empty: none
	}{
		{"internal/repo/a.go", "package repo\n\nimport _ \"firn/internal/backup\"\n", "strictly lower"},
		{"internal/repo/a.go", "package repo\n\nimport _ \"firn/internal/wire\"\n", "strictly lower"},
		{"internal/repo/a_test.go", "package repo\n\nimport _ \"firn/internal/wire\"\n", ""},
		{"internal/repo/a_test.go", "package repo\n\nimport _ \"firn/internal/backup\"\n", "strictly lower"},
		{"internal/repo/a_test.go", "package repo\n\nimport _ \"firn/internal/faultstore\"\n", ""},
		{"internal/repo/a.go", "package repo\n\nimport _ \"firn/internal/faultstore\"\n", "strictly lower"},
		{"internal/repo/a.go", "package repo\n\nimport _ \"firn/internal/pack\"\n", ""},
		{"internal/repo/a.go", "package repo\n\nimport _ \"firn/internal/nowhere\"\n", "not in the table"},
		{"internal/store/local/a.go", "package local\n\nimport _ \"firn/internal/store\"\n", ""},
		{"internal/store/retry/a.go", "package retry\n\nimport _ \"firn/internal/store/local\"\n", "strictly lower"},
		{"internal/storetest/a.go", "package storetest\n\nimport _ \"firn/internal/store\"\n", ""},
		{"internal/pack/a.go", "package pack\n\nimport _ \"os\"\n", "touches no disk"},
		{"internal/pack/a.go", "package pack\n\nimport \"time\"\n\nvar _ = time.Now\n", "no clock"},
		{"internal/nowhere/a.go", "package nowhere\n", "not in the table"},
		{"internal/cdc/a.go", "package gear\n", "lies in folder"},
		{"internal/cdc/a.go", "package cdc\n\nvar  x int\n", "not formatted"},
		{"internal/cdc/a.go", "package cdc\n\nfunc init() {}\n", "func init"},
		{"internal/cdc/a_test.go", "package cdc\n\nfunc init() {}\n", ""},
		{"internal/cdc/a.go", long, "function of 71 lines"},
		{"internal/cdc/a.go", fits, ""},
		{"internal/cli/a.go", "package cli\n\nimport \"os\"\n\nfunc f() { os.Exit(1) }\n", "os.Exit outside"},
		{"cmd/firn/a.go", "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(1) }\n", ""},
		{"cmd/firn/a.go", "package main\n\nimport \"log\"\n\nfunc f() { log.Fatal(1) }\n", "log.Fatal outside"},
		{"internal/cdc/a.go", "package cdc\n\nimport \"errors\"\n\nvar _ = errors.New(\"give --min\")\n", "below floor 5"},
		{"internal/cdc/a.go", "package cdc\n\nimport \"fmt\"\n\nvar _ = fmt.Errorf(\"run firn prune %d\", 1)\n", "below floor 5"},
		{"internal/cdc/a.go", "package cdc\n\nfunc (e) Error() string { return \"use --force\" }\n", "below floor 5"},
		{"internal/cdc/a.go", "package cdc\n\nvar _ = \"--force\"\n", ""},
		{"internal/advice/a.go", "package advice\n\nimport \"errors\"\n\nvar _ = errors.New(\"give --min\")\n", ""},
	} {
		f, err := newFile(c.name, []byte(c.src))
		if err != nil {
			t.Fatal(err)
		}
		found := f.check(floors())
		switch {
		case c.want == "" && len(found) > 0:
			t.Errorf("%s: found %q in:\n%s", c.name, found, c.src)
		case c.want != "" && (len(found) != 1 || !strings.Contains(found[0], c.want)):
			t.Errorf("%s: found %q, want one of %q in:\n%s", c.name, found, c.want, c.src)
		}
	}
}

func TestBadNames(t *testing.T) {
	for _, n := range []string{"util", "common", "helper", "types", "manager", "data", "global"} {
		f, err := newFile("internal/"+n+"/a.go", []byte("package "+n+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if found := f.check(map[string]int{n: 0}); len(found) != 1 {
			t.Errorf("%s: found %q, want one", n, found)
		}
	}
}

func TestTextRulesFind(t *testing.T) {
	for line, want := range map[string]int{
		"// TO" + "DO: later":                        1,
		"mktemp /tmp/a.XX" + "XXXX":                  0,
		"GOPROXY=https://pro" + "xy.go" + "lang.org": 1,
		"cp x /ro" + "ot/x":                          1,
		"cp x /home" + "/mallory/x":                  1,
		"firn backup /home/me/photos":                0,
		"data/root/x":                                0,
		"C:\\Users" + "\\mallory":                    1,
		"see /srv/checkouts/" + "one/x":              1,
	} {
		if found := checkText("a", []byte("first\n"+line+"\n"), []string{"/srv/checkouts/" + "one"}); len(found) != want {
			t.Errorf("%q: found %q, want %d", line, found, want)
		}
	}
	if found := checkText("a", []byte(fmt.Sprintf("\x00TO%s", "DO")), nil); len(found) != 0 {
		t.Errorf("looked into a binary file: %q", found)
	}
}
