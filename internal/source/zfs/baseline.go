package zfs

import (
	"context"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
)

// Baseline is a snapshot that another tool has stored elsewhere, so that increments can start from it. It implements source.Producer, without streams.
type Baseline struct {
	Source
	name, where string
}

// NewBaseline returns the baseline that rest, DATASET@SNAPSHOT, means; where says for people where its stream lies, and may be empty. It looks at nothing yet. It fails with *NameError or
// *source.SettingError. With the setting "recursive" it is that of all datasets below that have the snapshot.
func NewBaseline(rest, where string, o *source.Settings, host source.Host) (*Baseline, error) {
	dataset, name, ok := strings.Cut(rest, "@")
	if !ok || !validComponent(name) {
		return nil, &NameError{rest, "want a snapshot, such as tank/home@offsite-20260719"}
	}
	if err := checkName(dataset); err != nil {
		return nil, err
	}
	b := &Baseline{name: name, where: where}
	b.system = system{idle: program.Timeout(o)}
	b.dataset, b.holder, b.recursive = dataset, host.Holder, o.Bool("recursive", false)
	if b.holder == "" {
		b.holder = defaultHolder
	}
	return b, o.Err()
}

// Dataset is what the snapshot is of.
func (b *Baseline) Dataset() string { return b.dataset }

// Prepare implements source.Producer: it looks whether the pool has the snapshot. When the record of it is in the repository, the snapshot is held until the first increment is stored, too.
func (b *Baseline) Prepare(ctx context.Context, _ []source.Have) (*source.Batch, error) {
	if err := b.find(ctx, b.dataset, "bookmark"); err != nil {
		return nil, err
	}
	all, err := b.list(ctx, b.dataset, b.recursive)
	if err != nil {
		return nil, err
	}
	batch := &source.Batch{Base: -1}
	var names []string
	for _, d := range all {
		s := d.snapshot(b.name)
		if s == nil {
			if d.name == b.dataset {
				return nil, &source.MissingError{What: "snapshot", Name: d.name + "@" + b.name}
			}
			batch.Notes = append(batch.Notes, d.name+" has no such snapshot: its first stream will be a full one")
			continue
		}
		at := s.name
		if b.where != "" {
			at += " (" + b.where + ")"
		}
		batch.Points = append(batch.Points, source.Point{Of: d.name, At: at, ID: s.guid, Time: s.creation, Outside: true})
		names = append(names, s.full())
	}
	if len(names) == 0 {
		return nil, &source.MissingError{What: "dataset", Name: b.dataset}
	}
	batch.End = func(ctx context.Context, done bool) error {
		if !done {
			return nil
		}
		return each(names, func(names []string) error { return b.hold(ctx, names) })
	}
	return batch, nil
}
