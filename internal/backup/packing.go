package backup

import (
	"runtime"
	"time"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Sizes of packs, in bytes (DESIGN, "Repository"). On a cold class a pack is what the link sends in packTime: there a PUT costs as much as storing 50 MiB for
// a month, and each object is billed for 40 KiB more than it has; what a dropped line costs is bounded all the same.
const (
	hotPack   = 16 << 20
	hotLeast  = 4 << 20  // where memory is short
	coldPack  = 64 << 20 // until the speed of the link is known
	coldLeast = 16 << 20
	coldMost  = 256 << 20
	packTime  = 30 * time.Second
)

// What things take of the memory, in bytes, beside what they are for: measured with pprof on the corpora of the benchmark, rounded up.
const (
	memoryBase   = MemoryProgram + 14<<20 // the walk, the stat caches, the index, requests
	memoryWorker = 11 << 20               // bundle, frame, encoder, two buffers for large files
)

// MemoryProgram is what the program itself takes of the memory, in bytes: pages of its file, which the limit of Go's runtime does not count.
const MemoryProgram = 22 << 20

// memoryParity is what making the recovery volume of a pack takes, in bytes: two batches of slices, the recovery slices, and buffers.
func memoryParity(pack int64, percent int) int64 {
	if percent == 0 {
		return 0
	}
	return min(pack/6, 8<<20) + pack/100*int64(percent)*17/16 + 1<<20
}

// isCold reports whether objects of a class have to be thawed.
func (o *Options) isCold(class string) bool { return o.IsCold != nil && o.IsCold(class) }

// setStorage takes over how the source was stored so far, as far as the caller does not choose. A run that was interrupted counts: what goes on is its work.
func (o *Options) setStorage() {
	var last snapshot.Item
	for _, it := range o.Scope.Items {
		if it.Source.ID == o.Source.ID && it.Status() != snapshot.IsForgotten {
			last = newer(last, it)
		}
	}
	if last.Snapshot != nil {
		o.Storage = o.Storage.After(last.Storage)
	}
}

// coldParity is how much recovery data packs in a cold class have where nothing else is said, in percent.
const coldParity = 5

// parity is how much recovery data new packs of content get, in percent: what is said of the source, else what the repository has. One that was made for content at
// hand has none; content that will be cold all the same gets some, since mending it in another way takes a second copy.
func (o *Options) parity(class string) int {
	cfg := o.Repo.Config()
	switch {
	case o.Storage.Parity != nil:
		return *o.Storage.Parity
	case cfg.Parity.Data == 0 && !o.isCold(cfg.Class.Data) && (o.isCold(class) || o.isCold(o.Storage.Then)):
		return coldParity
	}
	return cfg.Parity.Data
}

// Packs returns in which class packs of content are going to be stored, empty for the store's own, how large they are going to be, in bytes, as far as can be
// told before a run, and how much recovery data they get, in percent.
func Packs(o Options) (class string, size int64, parity int) {
	o.setDefaults()
	o.setStorage()
	w := o.packing()
	if w.PackTime > 0 && w.Up > 0 {
		return w.Class, min(max(int64(w.Up*w.PackTime.Seconds()), w.PackLeast), w.PackMost), *w.Parity
	}
	return w.Class, w.PackSize, *w.Parity
}

// packing plans packs, workers and memory; it sets o.Workers.
func (o *Options) packing() repo.WriterOptions {
	class := o.Storage.Class
	if class == "" {
		class = o.Repo.Config().Class.Data
	}
	up, parity := o.State.Link().Up, o.parity(class)
	w := repo.WriterOptions{Class: class, Parity: &parity, Uploads: o.Uploads, PackSize: o.PackSize, Streams: o.Streams, PartTime: packTime, Up: up}
	streams := o.PackSize > o.Streams
	if o.PackSize <= 0 {
		w.PackSize = hotPack
		if o.isCold(class) {
			w.PackSize, w.PackTime, w.PackLeast, w.PackMost = coldPack, packTime, coldLeast, coldMost
			streams = true
		}
	}
	left := o.Memory - memoryBase
	if streams {
		left -= o.streaming(&w, left, parity)
	} else {
		left -= o.building(&w, left, parity)
	}
	if o.Workers <= 0 {
		o.Workers = int(min(max(left/memoryWorker, 1), int64(runtime.GOMAXPROCS(0))))
	}
	w.Lanes = min(w.Lanes, o.Workers)
	w.Workers = o.Workers
	return w
}

// streaming plans packs that are not held in memory, and returns how much of what is left of that they take: the recovery slices of the largest, which is made
// smaller where they would take more than half of it.
func (o *Options) streaming(w *repo.WriterOptions, left int64, parity int) int64 {
	for _, size := range []*int64{&w.PackSize, &w.PackMost} {
		for *size > coldLeast && memoryParity(*size, parity) > max(left/2, 0) {
			*size = max(*size*7/8, coldLeast)
		}
	}
	return memoryParity(max(w.PackSize, w.PackMost), parity)
}

// building plans packs that are filled in memory, and returns how much of what is left of that they take. A quarter of it is for packs that wait to be sent (a folder takes
// them as they are sealed), the rest for packs that are being filled and for workers, in this order.
func (o *Options) building(w *repo.WriterOptions, left int64, parity int) int64 {
	waits := int64(1)
	if _, ok := store.As[store.Creator](o.Repo.Store()); ok {
		waits = 0
	}
	one := func() int64 { return w.PackSize + memoryParity(w.PackSize, parity) }
	for o.PackSize <= 0 && w.PackSize > hotLeast && one()+waits*w.PackSize+memoryWorker > left {
		w.PackSize /= 2
	}
	w.Memory = max(left/4, w.PackSize) * waits
	rest := left - w.Memory
	w.Lanes = int(min(max(rest/2/one(), 1), int64(runtime.GOMAXPROCS(0))))
	return w.Memory + int64(w.Lanes)*one()
}
