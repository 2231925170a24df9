package job

import (
	"os"
	"path/filepath"
	"time"
)

// holdFolder is where the lock of the one who runs jobs all the time lies; no job has such a name (safeName).
const holdFolder = ".serve"

// Hold makes the caller the only one who runs the jobs of dir (Options.Dir) all the time, until release is called or the process ends. It fails with *HeldError where there is one already, or with what
// keeps locks from being had.
func Hold(dir string, now time.Time) (release func(), err error) {
	if dir == "" {
		return nil, ErrNoState
	}
	l, err := take(filepath.Join(dir, holdFolder), "serve", now, time.Sleep)
	if err != nil {
		return nil, err
	}
	return l.release, nil
}

// Sent returns how many bytes went to the repository to which a job sends in the month of this moment, those of all jobs of this machine.
func (r *Runner) Sent(j *Job) int64 { return r.sent(j) }

// PauseTime is when the pause of dir was last set; zero: there is none. What has changed since shows in it.
func PauseTime(dir string) time.Time {
	if dir == "" {
		return time.Time{}
	}
	info, err := os.Stat(filepath.Join(dir, pauseName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
