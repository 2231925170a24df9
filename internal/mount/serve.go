//go:build (linux && !386 && !arm && !mips && !mipsle) || freebsd || darwin

package mount

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Supported reports whether this system can mount.
const Supported = true

// serve is Run on systems that can.
func (f *FS) serve(ctx context.Context, dir string, up func()) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return &PointError{dir, err}
	}
	if err := checkDevice(); err != nil {
		return &PointError{dir, err}
	}
	srv, err := fuse.NewServer(newServer(f), dir, f.mountOptions())
	if err != nil {
		return &PointError{dir, err}
	}
	ended := make(chan struct{})
	go func() {
		srv.Serve()
		close(ended)
	}()
	if err := srv.WaitMount(); err != nil {
		return errors.Join(&PointError{dir, err}, srv.Unmount())
	}
	if up != nil {
		up()
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	return f.leave(srv, dir, ended)
}

func (f *FS) mountOptions() *fuse.MountOptions {
	o := &fuse.MountOptions{
		AllowOther: f.o.AllowOther, FsName: "firn", Name: "firn", Options: append([]string{"ro"}, inert...), EnableSymlinkCaching: true, ExplicitDataCacheControl: true,
		MaxBackground: 64, DirectMount: os.Geteuid() == 0, DirectMountFlags: directFlags, Logger: log.New(libraryLog{f}, "", 0),
		PanicHandler: func(v any) fuse.Status {
			f.told.warn("a request failed, which is a fault of this program: %v\n%s", v, debug.Stack())
			return fuse.EIO
		},
	}
	if f.o.AllowOther {
		o.Options = append(o.Options, "default_permissions") // files are for whom their mode says
		o.EnableAcl = true                                   // and their ACL: where there is one, the mode alone gives the group what others were given
	}
	return o
}

// libraryLog takes what the library has to say to those who look for faults: nobody else would make anything of it.
type libraryLog struct{ f *FS }

func (l libraryLog) Write(b []byte) (int, error) { return len(b), nil }

// checkDevice tells early, and clearly, what mounting would fail with.
func checkDevice() error {
	d, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	switch {
	case err == nil:
		return errors.Join(d.Close(), checkHelper())
	case deviceLess:
		return checkHelper()
	case errors.Is(err, fs.ErrPermission):
		return ErrDenied
	}
	return ErrNoDevice
}

// leave unmounts. What is under way fails at once; those who have something open have a while to close it.
func (f *FS) leave(srv *fuse.Server, dir string, ended <-chan struct{}) error {
	err := srv.Unmount()
	if err == nil {
		<-ended
		return nil
	}
	if !errors.Is(err, syscall.EINVAL) { // else somebody has detached it
		f.told.note("%q is in use; it is detached in %v, or as soon as it is not", dir, f.o.Grace)
	}
	deadline := time.NewTimer(f.o.Grace)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-again.C:
			if srv.Unmount() == nil {
				<-ended
				return nil
			}
		case <-deadline.C:
			return f.detach(dir, ended)
		}
	}
}

// detach takes it out of the folder although it is in use. Those who use it fail from then on.
func (f *FS) detach(dir string, ended <-chan struct{}) error {
	abort, err := abortOf(dir)
	if err == nil {
		err = detachPoint(dir)
	}
	if err != nil {
		return &PointError{dir, err}
	}
	abort()
	select {
	case <-ended:
	case <-time.After(time.Second): // the kernel does it when the process ends
	}
	return nil
}
