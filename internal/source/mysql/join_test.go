package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func join(t *testing.T, text, from, to string) string {
	t.Helper()
	out, err := io.ReadAll(newJoiner(bufio.NewReaderSize(iotest.HalfReader(strings.NewReader(text)), 256), from, to))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(newJoiner(bufio.NewReaderSize(strings.NewReader(text), 256), from, to), out); err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestJoin(t *testing.T) {
	long := "INSERT INTO `t` VALUES ('" + strings.Repeat("x", 1000) + "');\n"
	for name, c := range map[string]struct{ in, want string }{
		"nothing":          {"", ""},
		"two":              {"INSERT INTO `t` VALUES (1);\nINSERT INTO `t` VALUES (2);\n", "INSERT INTO `t` VALUES (1),\n(2);\n"},
		"two tables":       {"INSERT INTO `t` VALUES (1);\nINSERT INTO `u` VALUES (2);\n", "INSERT INTO `t` VALUES (1);\nINSERT INTO `u` VALUES (2);\n"},
		"columns":          {"INSERT INTO `t` (`a`,` VALUES (`) VALUES (1,2);\nINSERT INTO `t` (`a`,` VALUES (`) VALUES (3,4);\nx", "INSERT INTO `t` (`a`,` VALUES (`) VALUES (1,2),\n(3,4);\nx"},
		"odd names":        {"INSERT INTO `a`` VALUES (` VALUES (1);\nINSERT INTO `a`` VALUES (` VALUES (2);\n", "INSERT INTO `a`` VALUES (` VALUES (1),\n(2);\n"},
		"text in between":  {"INSERT INTO `t` VALUES (1);\n\nINSERT INTO `t` VALUES (2);\n", "INSERT INTO `t` VALUES (1);\n\nINSERT INTO `t` VALUES (2);\n"},
		"a long row":       {"INSERT INTO `t` VALUES (1);\n" + long + "INSERT INTO `t` VALUES (2);\n", "INSERT INTO `t` VALUES (1);\n" + long + "INSERT INTO `t` VALUES (2);\n"},
		"no end of line":   {"INSERT INTO `t` VALUES (1);\nINSERT INTO `t` VALUES (2);", "INSERT INTO `t` VALUES (1);\nINSERT INTO `t` VALUES (2);"},
		"select":           {"INSERT INTO `t` SELECT ' VALUES (';\nINSERT INTO `t` SELECT ' VALUES (1);\n", "INSERT INTO `t` SELECT ' VALUES (';\nINSERT INTO `t` SELECT ' VALUES (1);\n"},
		"body":             {"DELIMITER ;;\nINSERT INTO `t` VALUES (1);\nINSERT INTO `t` VALUES (2);\nALTER DATABASE `old` CHARACTER SET x;\nDELIMITER ;\n", ""},
		"another name":     {"ALTER DATABASE `old` CHARACTER SET x;\nALTER DATABASE `other` CHARACTER SET x;\n", "ALTER DATABASE `new` CHARACTER SET x;\nALTER DATABASE `other` CHARACTER SET x;\n"},
		"name in a row":    {"INSERT INTO `t` VALUES ('ALTER DATABASE `old` CHARACTER SET ');\n", ""},
		"statement inside": {"INSERT INTO `t` VALUES ('a'),('b');\nINSERT INTO `t` VALUES ('c');\n", "INSERT INTO `t` VALUES ('a'),('b'),\n('c');\n"},
	} {
		if c.want == "" {
			c.want = c.in
		}
		if got := join(t, c.in, "old", "new"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	many := strings.Repeat("INSERT INTO `t` VALUES ('"+strings.Repeat("y", 100)+"');\n", 20_000)
	got := join(t, many, "x", "x")
	for i, statement := range strings.SplitAfter(got, ";\n") {
		if len(statement) > maxJoined+200 || i == 0 && len(statement) < maxJoined-200 {
			t.Errorf("statement %d has %d bytes", i, len(statement))
		}
	}
	if n := strings.Count(got, "yyy'"); n != 20_000 {
		t.Errorf("%d rows", n)
	}
}

// TestJoinFailure: what cannot be read whole gives no end of a statement.
func TestJoinFailure(t *testing.T) {
	broken := errors.New("broken")
	out, err := io.ReadAll(newJoiner(bufio.NewReader(io.MultiReader(strings.NewReader("INSERT INTO `t` VALUES (1);\nINSERT INTO `t` VA"), iotest.ErrReader(broken))), "a", "a"))
	if !errors.Is(err, broken) || bytes.Contains(out, []byte(";")) {
		t.Errorf("%q %v", out, err)
	}
}

func FuzzJoin(f *testing.F) {
	for _, s := range []string{"", "INSERT INTO `t` VALUES (1);\nINSERT INTO `t` VALUES (2);\n", "DELIMITER ;;\nx\nDELIMITER ;\n", "INSERT INTO `", "INSERT INTO `t` VALUES ();\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := join(t, s, "a", "a")
		// What is joined falls apart into the same statements again, unless a text holds what stands between two.
		if !strings.Contains(s, ",\n") && len(got) < maxJoined {
			var lines []string
			for line := range strings.Lines(got) {
				lines = append(lines, line)
			}
			n := strings.Count(s, "\n")
			if strings.Count(got, "\n") != n {
				t.Fatalf("%d lines of %q became %d", n, s, len(lines))
			}
		}
	})
}

func TestHead(t *testing.T) {
	d := &database{charset: "utf8mb4", collation: "utf8mb4_uca1400_ai_ci"}
	out, err := io.ReadAll(headReader(strings.NewReader("one\ntwo\n"), head(d)))
	if err != nil || string(out) != "one\n-- firn database charset=utf8mb4 collation=utf8mb4_uca1400_ai_ci\ntwo\n" {
		t.Fatalf("%q %v", out, err)
	}
	if m := properties.FindSubmatch(out); string(m[1]) != "utf8mb4" || string(m[2]) != "utf8mb4_uca1400_ai_ci" {
		t.Fatalf("%q", m)
	}
	for text, want := range map[string]error{"": errNoDump, "one": errNoDump, strings.Repeat("x", 1<<20): errNoDump} {
		if _, err := io.ReadAll(headReader(strings.NewReader(text), "x\n")); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	broken := errors.New("broken")
	if _, err := io.ReadAll(headReader(iotest.ErrReader(broken), "x\n")); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestAccounts(t *testing.T) {
	for in, want := range map[string][2]string{
		"CREATE USER `a`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x24 DEFAULT ROLE `r`@`%`,`s`@`%` REQUIRE NONE PASSWORD EXPIRE DEFAULT": {"CREATE USER `a`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x24 REQUIRE NONE PASSWORD EXPIRE DEFAULT", "`r`@`%`,`s`@`%`"},
		"CREATE USER ` DEFAULT ROLE x`@`%` REQUIRE NONE": {"CREATE USER ` DEFAULT ROLE x`@`%` REQUIRE NONE", ""},
		"CREATE USER `a`@`%` DEFAULT ROLE `r`@`%`":       {"CREATE USER `a`@`%`", "`r`@`%`"},
	} {
		if rest, roles := cutDefaultRole(in); rest != want[0] || roles != want[1] {
			t.Errorf("%s: %q %q", in, rest, roles)
		}
	}
	for in, want := range map[string]string{
		"GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*B69'":                                       "GRANT USAGE ON *.* TO `a`@`%`",
		"GRANT ALL ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '* WITH ''x\\'y' REQUIRE SSL WITH GRANT OPTION": "GRANT ALL ON *.* TO `a`@`%` REQUIRE SSL WITH GRANT OPTION",
		"GRANT ALL ON *.* TO `a`@`%` IDENTIFIED VIA unix_socket WITH GRANT OPTION":                          "GRANT ALL ON *.* TO `a`@`%` WITH GRANT OPTION",
		"GRANT ALL ON ` IDENTIFIED `.* TO `a`@`%`":                                                          "GRANT ALL ON ` IDENTIFIED `.* TO `a`@`%`",
	} {
		if got := cutIdentified(in); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
	text := "-- x\n-- firn account `a`@`%`\nCREATE a;\nmore;\n-- firn account `b`\nCREATE b;\n"
	if got := leaveOut(text, map[string]bool{"`a`@`%`": true}); got != "-- x\n-- firn account `b`\nCREATE b;\n" {
		t.Errorf("%q", got)
	}
}
