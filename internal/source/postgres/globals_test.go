package postgres

import (
	"strings"
	"testing"
)

const script = `--
-- Roles; 'of' all
--

\restrict ab;c'd

SET client_encoding = 'UTF8';
CREATE ROLE anna;
ALTER ROLE anna WITH LOGIN PASSWORD 'SCRAM;''x';
CREATE ROLE "b;""o b";
ALTER ROLE "b;""o b" WITH NOLOGIN;
COMMENT ON ROLE "b;""o b" IS E'one\'; CREATE ROLE x;
''\'two; -- ';
ALTER ROLE new SET search_path TO 'a', "b;";
GRANT anna TO "b;""o b" GRANTED BY postgres;
CREATE TABLESPACE fast OWNER anna LOCATION '/fast';
CREATE TABLESPACE slow OWNER anna LOCATION '/slow';

\unrestrict ab;c'd

-- complete
`

func TestLeaveOut(t *testing.T) {
	e := existing{roles: map[string]bool{`b;"o b`: true}, tablespaces: map[string]bool{"slow": true, "new": true}}
	got := string(e.leaveOut([]byte(script)))
	want := script[:strings.Index(script, `CREATE ROLE "b`)] + script[strings.Index(script, "ALTER ROLE new"):strings.Index(script, "CREATE TABLESPACE slow")] + script[strings.Index(script, "\n\\unrestrict"):]
	if got != want {
		t.Errorf("%s", got)
	}
	e.force = true
	if got := string(e.leaveOut([]byte(script))); !strings.Contains(got, `ALTER ROLE "b;""o b" WITH`) || strings.Contains(got, `CREATE ROLE "b`) || !strings.Contains(got, "two") {
		t.Errorf("forced: %s", got)
	}
	if got := string(existing{}.leaveOut([]byte(script))); got != script {
		t.Errorf("nothing is there: %s", got)
	}
}

func FuzzLeaveOut(f *testing.F) {
	for _, s := range []string{script, "", ";", "'", `"`, "E'\\'", "--", "\\", "CREATE ROLE ", `CREATE ROLE "`, `CREATE ROLE """`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := string(existing{}.leaveOut([]byte(s))); got != s {
			t.Fatalf("%q became %q", s, got)
		}
		if got := string((existing{roles: map[string]bool{"anna": true}}).leaveOut([]byte(s))); len(got) > len(s) {
			t.Fatalf("%q became %q", s, got)
		}
	})
}
