package program

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/source"
)

// running is a program that was started. Three goroutines belong to it at most: one reads its standard error, one waits for its end, one is os/exec's own, where Print is no file.
type running struct {
	p      Command
	ctx    context.Context
	cmd    *exec.Cmd
	pipe   *os.File // our end of its output or input; nil: there is none
	stderr *os.File
	said   tail          // until noted is closed only its goroutine touches it
	noted  chan struct{} // closed when standard error has been read to its end
	exited chan struct{} // closed when it has been waited for
	stuck  chan struct{} // closed where it does not end although it was killed
	detach func() bool   // from ctx

	mu      sync.Mutex
	cause   error // why it was stopped; nil: it was not
	status  error // how it ended
	over    bool  // status holds
	ended   bool  // nothing may be signalled any more, and result holds
	result  error // what finish returns
	waiting error // somebody waits, and this is what it means where nothing happens; nil: nobody
	turn    int   // of the timer, so that a late one is known
	disarm  func() bool
	killer  func() bool
}

// withoutSecrets leaves the passphrase of the repository out of an environment: a program may run as somebody else, who could read it there, or hand it on.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "FIRN_PASSPHRASE=") })
}

// start runs the program with what set says of its files.
func (p Command) start(ctx context.Context, pipe *os.File, set func(*exec.Cmd)) (*running, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	path, err := Find(p.Name)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, &source.ProgramError{Program: p.Name, Err: err}
	}
	r := &running{p: p, ctx: ctx, pipe: pipe, stderr: ours, noted: make(chan struct{}), exited: make(chan struct{}), stuck: make(chan struct{})}
	r.said.note = p.Notes
	r.cmd = exec.Command(path, p.Args...)
	r.cmd.Dir, r.cmd.Stderr = p.Dir, theirs
	r.cmd.Env = append(append(withoutSecrets(os.Environ()), "LC_ALL=C"), p.Env...)
	set(r.cmd)
	alone(r.cmd)
	err = r.cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		return nil, &source.ProgramError{Program: p.Name, Err: err}
	}
	go r.listen()
	go r.wait()
	r.detach = context.AfterFunc(ctx, func() { r.stop(context.Cause(ctx)) })
	return r, nil
}

// listen reads standard error.
func (r *running) listen() {
	defer close(r.noted)
	buf := make([]byte, 4<<10)
	for {
		n, err := r.stderr.Read(buf)
		r.said.add(buf[:n])
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				r.said.add(lying(r.stderr)) // said long ago, on a machine that was too busy for us to hear it
			}
			r.said.flush()
			_ = r.stderr.Close()
			return
		}
	}
}

// wait waits for the end. What a failed or stopped program leaves behind ends with it, or it would hold the pipes open.
func (r *running) wait() {
	err := r.cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.over = err, true
	if err != nil || r.cause != nil {
		killGroup(r.cmd)
	}
	r.arm()
	close(r.exited)
}

// stop has the program end, for a reason; only the first one counts.
func (r *running) stop(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopLocked(cause)
}

func (r *running) stopLocked(cause error) {
	if r.cause != nil || r.ended {
		return
	}
	r.cause = cause
	if r.pipe != nil && r.pipe.SetDeadline(time.Unix(1, 0)) != nil {
		_ = r.pipe.Close() // who reads or writes must not wait for others that have the pipe
	}
	if r.over {
		killGroup(r.cmd)
		return
	}
	askGroup(r.cmd)
	r.killer = r.p.timer(r.p.patienceTime(), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ended || r.over {
			return
		}
		killGroup(r.cmd)
		r.killer = r.p.timer(r.p.graceTime(), func() { close(r.stuck) })
	})
}

// await says that somebody waits for the program from now on, and what it means where nothing happens.
func (r *running) await(silence error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = silence
	r.arm()
}

// relax says that nobody waits any more.
func (r *running) relax() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = nil
	r.arm()
}

// arm sets the timer as things stand. r.mu is held.
func (r *running) arm() {
	if r.disarm != nil {
		r.disarm()
		r.disarm = nil
	}
	r.turn++
	d, cause := r.p.Idle, r.waiting
	if r.over {
		d, cause = r.p.graceTime(), errHeld
	}
	if d == 0 || r.waiting == nil || r.cause != nil {
		return
	}
	turn := r.turn
	r.disarm = r.p.timer(d, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.turn == turn {
			r.stopLocked(cause)
		}
	})
}

// finish waits for the end, and says how it was. Nothing reads or writes the pipe any more.
func (r *running) finish() error {
	r.mu.Lock()
	if r.ended {
		defer r.mu.Unlock()
		return r.result
	}
	r.mu.Unlock()
	r.await(errIdle)
	select {
	case <-r.exited:
	case <-r.stuck:
	}
	r.relax()
	r.hearOut()
	r.detach()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killer != nil {
		r.killer()
	}
	if !r.ended {
		r.ended, r.result = true, r.verdict()
	}
	return r.result
}

// hearOut waits until standard error has been read. Something in the background may hold it for ever.
func (r *running) hearOut() {
	late := r.p.timer(r.p.patienceTime(), func() {
		if r.stderr.SetReadDeadline(time.Unix(1, 0)) != nil {
			_ = r.stderr.Close()
		}
	})
	<-r.noted
	late()
}

// verdict says how it ended. r.mu is held.
func (r *running) verdict() error {
	switch {
	case r.cause != nil && r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case !r.over:
		return r.failed(errStuck)
	case r.cause != nil && (r.cause != errHeld || r.status == nil):
		return r.failed(r.cause)
	case r.status != nil:
		return r.failed(r.status)
	}
	return nil
}

func (r *running) failed(err error) error {
	return &source.ProducerError{Program: r.p.label(), Stderr: r.said.text(), Err: err}
}
