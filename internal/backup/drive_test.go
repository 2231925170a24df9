package backup_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store/local"
)

var heapDone bool

func TestDrive(t *testing.T) {
	src := os.Getenv("DRIVE_SRC")
	if src == "" {
		t.Skip("manual")
	}
	work := os.Getenv("DRIVE_WORK")
	st, err := local.Open(work+"/repo", local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pass, _ := keys.Passphrase([]byte("x"), 10)
	ctx := context.Background()
	acc, err := repo.Init(ctx, st, repo.InitOptions{Keys: []repo.NewKey{{Label: "p", Recipient: pass}}, HostName: "nas"})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		cpu0, t0 := cpu(), time.Now()
		if round == 0 && os.Getenv("DRIVE_PROF") != "" {
			f, _ := os.Create(os.Getenv("DRIVE_PROF"))
			pprof.StartCPUProfile(f)
		}
		r, err := repo.Open(ctx, st, acc, repo.Options{IndexDir: work + "/cache/idx"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Load(ctx, acc.Host.ScopeID, true)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := dir.Open(src, dir.Options{})
		if err != nil {
			t.Fatal(err)
		}
		state := state.Open(state.Dirs{Cache: work + "/cache", State: work + "/state"}, r.ID(), func(err error) { t.Log(err) })
		res, err := backup.Run(ctx, backup.Options{
			Repo: r, Scope: s, State: state, Tree: tree, Names: tree.Names, Host: "nas",
			Source: snapshot.Origin{ID: snapshot.Source{1}, Kind: "dir", Path: []byte(src)},
			Detect: backup.DefaultDetect, Program: "drive",
			Report: func(e event.Event) {
				if p, ok := e.(event.Progress); ok && round == 0 && p.BytesDone > 1800<<20 && os.Getenv("DRIVE_HEAP") != "" && !heapDone {
					heapDone = true
					runtime.GC()
					f, _ := os.Create(os.Getenv("DRIVE_HEAP"))
					pprof.Lookup("heap").WriteTo(f, 0)
					f.Close()
				}
				if p, ok := e.(event.Problem); ok {
					fmt.Println("problem", p.Path, p.Err)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		pprof.StopCPUProfile()
		tree.Close()
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		fmt.Printf("round %d wall %.2f cpu %.2f sys-mem %d MB unchanged %v %+v lines %d bytes %d\n", round, time.Since(t0).Seconds(), cpu()-cpu0, ms.Sys>>20, res.Unchanged, res.Snapshot.Stats, res.Snapshot.Manifest.Lines, res.Snapshot.Manifest.Bytes)
	}
}

func cpu() float64 {
	var ru syscall.Rusage
	syscall.Getrusage(0, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}
