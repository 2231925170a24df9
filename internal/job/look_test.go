package job

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReportOf: the report of the last run is read by what the ledger says of it, and by nothing else.
func TestReportOf(t *testing.T) {
	w := newWorld(t, "fail")
	w.run(Wish{Scheduled: true})
	j, last := &w.r.Jobs()[0], w.history("fail").Last
	rep, err := w.r.Report(j, last)
	if err != nil || rep.Hint != "call the fire brigade" || rep.Outcome != Failed {
		t.Errorf("%+v, %v", rep, err)
	}
	if names := j.Sources(); len(names) != 1 || names[0] == "" {
		t.Errorf("%q", names)
	}
	outside := *last
	outside.Report = "../../" + last.Report
	if rep, err := w.r.Report(j, &outside); err != nil || rep.Run == "" {
		t.Errorf("only the last part of a name counts: %v", err)
	}
	path := filepath.Join(w.r.dir(j), "reports", last.Report)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.r.Report(j, last); err == nil {
		t.Error("half a report")
	}
	_ = os.Remove(path)
	if _, err := w.r.Report(j, last); !os.IsNotExist(err) {
		t.Error(err)
	}
}
