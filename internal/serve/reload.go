package serve

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"firn/internal/config"
	"firn/internal/job"
)

// stamp is what shows that a file changed.
type stamp struct {
	size int64
	at   time.Time
}

// stamps looks at the files of a configuration, and at the folders in which more of them may turn up. What is not there has no stamp.
func stamps(c *config.Config) map[string]stamp {
	all := map[string]stamp{}
	look := func(path string) {
		if info, err := os.Stat(path); err == nil {
			s := stamp{at: info.ModTime()}
			if !info.IsDir() {
				s.size = info.Size()
			}
			all[path] = s
		}
	}
	for _, path := range c.Files {
		look(path)
		look(filepath.Dir(path))
	}
	if len(c.Files) > 0 {
		look(filepath.Join(filepath.Dir(c.Files[0]), "conf.d"))
	}
	return all
}

// watchFiles notices that the configuration was changed, and that jobs were paused or are to go on.
func (d *daemon) watchFiles(ctx context.Context) {
	if at := job.PauseTime(d.o.Dir); !at.Equal(d.paused) {
		d.paused, d.look = at, true
	}
	now := stamps(d.gen.cfg)
	switch {
	case maps.Equal(now, d.files):
		d.changed = nil
	case d.changed == nil || !maps.Equal(now, d.changed):
		d.changed = now
	default:
		d.changed, d.files = nil, now
		d.reload(ctx, false)
	}
}

// reload reads the configuration again. One that says the same is left alone, unless asked is set: where secrets lie it says, but not what they are.
func (d *daemon) reload(ctx context.Context, asked bool) {
	d.o.Notify(reloading())
	defer d.o.Notify("READY=1")
	d.changed, d.files = nil, stamps(d.gen.cfg)
	cfg, err := d.o.Load()
	if err != nil {
		d.refuse(ctx, err)
		return
	}
	if !asked && cfg.Show() == d.gen.cfg.Show() {
		d.accept(ctx)
		return
	}
	gen, err := d.hire(cfg)
	if err != nil {
		d.refuse(ctx, err)
		return
	}
	address, err := d.face.listen(gen)
	if err != nil {
		d.retire(gen)
		d.refuse(ctx, err)
		return
	}
	if address != "" && d.o.Moved != nil {
		d.o.Moved(address)
	}
	d.accept(ctx)
	old := d.gen
	d.gen, d.files, d.look = gen, stamps(cfg), true
	d.face.use(gen)
	d.retire(old)
	d.gen.crew.Log.Info("configuration read again", "jobs", len(gen.crew.Runner.Jobs()))
	d.tellRunning()
}

// accept notes that the configuration is the one in use.
func (d *daemon) accept(ctx context.Context) {
	if d.refused == "" {
		return
	}
	d.refused = ""
	d.face.setRefused(false)
	const text = "the configuration is in order again"
	d.gen.crew.Log.Info(text)
	d.alert(ctx, text, true)
}

// refuse keeps what there is, and says so, once.
func (d *daemon) refuse(ctx context.Context, err error) {
	text := err.Error()
	if text == d.refused {
		return
	}
	d.refused = text
	d.face.setRefused(true)
	text = "the changed configuration is refused, and the old one stays in use: " + text
	d.gen.crew.Log.Error(text)
	d.o.Notify("STATUS=the configuration is refused; the old one stays in use")
	d.alert(ctx, text, false)
}

// alert tells people, who may be slow to reach.
func (d *daemon) alert(ctx context.Context, text string, over bool) {
	if alert := d.gen.crew.Alert; alert != nil {
		d.alerts.Go(func() { alert(ctx, text, over) })
	}
}

// hire makes what runs a configuration.
func (d *daemon) hire(cfg *config.Config) (*generation, error) {
	crew, err := d.o.Hire(cfg)
	if err != nil {
		return nil, err
	}
	if crew.Log == nil {
		crew.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return &generation{cfg: cfg, crew: crew}, nil
}

// retire closes a generation once its runs are over.
func (d *daemon) retire(g *generation) {
	d.retired.Go(func() {
		g.working.Wait()
		if g.crew.Close != nil {
			g.crew.Close()
		}
	})
}
