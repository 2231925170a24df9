package job

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxReport bounds a report that is read, in bytes. The largest that are written have some MiB.
const maxReport = 32 << 20

// Sources are what the snapshots of a backup are called: names, or paths and what stands behind the kind; nil: the job makes none.
func (j *Job) Sources() []string {
	if j.Source == nil {
		return nil
	}
	return names(j.Source)
}

// Report reads the report of a run that the ledger tells of. It fails with an error of the disk, such as fs.ErrNotExist where newer reports have taken the place of it.
func (r *Runner) Report(j *Job, run *Record) (*Report, error) {
	dir := r.dir(j)
	if dir == "" || run.Report == "" {
		return nil, os.ErrNotExist
	}
	f, err := os.Open(filepath.Join(dir, "reports", filepath.Base(run.Report)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxReport+1))
	if err != nil {
		return nil, err
	}
	rep := &Report{}
	if len(raw) > maxReport {
		return nil, fmt.Errorf("report %q: longer than %d bytes", run.Report, maxReport)
	}
	if err := json.Unmarshal(raw, rep); err != nil {
		return nil, fmt.Errorf("report %q: %w", run.Report, err)
	}
	return rep, nil
}
