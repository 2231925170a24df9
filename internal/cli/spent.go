package cli

import (
	"sync"
	"time"

	"firn/internal/backup"
	"firn/internal/price"
	"firn/internal/schedule"
	"firn/internal/state"
	"firn/internal/store/s3"
	"firn/internal/units"
)

// tally counts the requests that a command makes of an S3 store.
type tally struct {
	mu sync.Mutex
	n  requests
}

// requests by what they are billed as.
type requests struct {
	Put  int64 `json:"put"`
	Get  int64 `json:"get"` // HEAD, too
	List int64 `json:"list"`
}

// note counts one request that was answered.
func (t *tally) note(r s3.Request) {
	if r.Status == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r.Operation {
	case "PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject", "UploadPartCopy":
		t.n.Put++
	case "GetObject", "HeadObject", "HeadBucket", "GetObjectAttributes":
		t.n.Get++
	case "ListObjectsV2", "ListParts", "ListMultipartUploads":
		t.n.List++
	}
}

// take returns what was counted since the last call.
func (t *tally) take() requests {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.n
	t.n = requests{}
	return n
}

// spentJSON is what a backup cost, in the JSON of a result.
type spentJSON struct {
	Currency string      `json:"currency"`
	Now      price.Money `json:"now"`     // requests and, for a dry run, those that there would be
	Monthly  price.Money `json:"monthly"` // to keep what was added
	Requests requests    `json:"requests"`
}

// spentOn is what a backup cost, as far as the prices are known; nil where they are not, or where nothing costs anything.
func spentOn(region *price.Region, res *backup.Result, hotClass string, made requests, dry bool) *spentJSON {
	if region == nil || res == nil {
		return nil
	}
	packs := res.Packs + res.Volumes
	hot := max(made.Put-packs, res.Metas)
	if dry {
		made.Put += packs + res.Metas + ritual
		hot = res.Metas + ritual
	}
	sent := []price.Sent{{Class: res.Class, Objects: packs, Bytes: res.Bytes + res.Parity}, {Class: hotClass, Objects: hot, Bytes: res.MetaSize}}
	c := &spentJSON{Currency: region.Currency, Requests: made}
	c.Now = region.Backup(sent, made.List, made.Get).Total()
	c.Monthly = region.Monthly(sent).Total()
	if c.Now == 0 && c.Monthly == 0 {
		return nil
	}
	return c
}

// ritual is about how many small objects a backup stores beside its packs: index, pack set, snapshot, mark, host state.
const ritual = 5

// sent is what so many bytes of content come to that nothing compresses: packs, and with parity, in percent, a recovery volume beside each.
func sent(bytes int64, class string, packSize int64, parity int) price.Sent {
	s := price.Sent{Class: class, Objects: (bytes + packSize - 1) / packSize, Bytes: bytes}
	if parity > 0 {
		s.Objects *= 2
		s.Bytes += bytes / 100 * int64(parity)
	}
	return s
}

// dues tells what a first backup may cost before anything is sent.
func (c *console) dues(region *price.Region, files, bytes int64, most price.Sent, link state.Link) {
	if region == nil || bytes == 0 {
		return
	}
	sent := []price.Sent{most}
	now, monthly := region.Backup(sent, 3, 3).Total(), region.Monthly(sent).Total()
	if now == 0 && monthly == 0 {
		return
	}
	name := most.Class
	if name == "" {
		name = region.Default
	}
	text := sprintf("at most %v from %s, if nothing can be compressed: %s in %s for %s, then %s a month", units.Size(bytes), counted(files, "file"),
		counted(most.Objects, "object"), name, region.Format(now), region.Format(monthly))
	if link.Up > 0 {
		text += sprintf("; %s at %v/s", longDuration(time.Duration(float64(most.Bytes)/link.Up*float64(time.Second))), units.Size(link.Up))
	}
	c.note("%s", text)
}

// linkOf is how fast the way to the store is: as the user limits it, else as it was measured.
func linkOf(s *state.State, f *storeFlags) state.Link {
	l := s.Link()
	now := time.Now()
	l.Up, l.Down = overWeek(f.up, l.Up, now), overWeek(f.down, l.Down, now)
	return l
}

// overWeek is what a way that takes so many bytes a second, 0 where nothing tells, takes on the average of the coming week with a timetable on it; 0: nothing tells.
func overWeek(t schedule.Timetable, link float64, now time.Time) float64 {
	sum := 0.0
	for at, end, n := now, now.Add(units.Week), 0; at.Before(end) && n < 1000; n++ {
		next := t.Changes(at, time.Local)
		if next.IsZero() || next.After(end) || !next.After(at) {
			next = end
		}
		rate := float64(t.At(at, time.Local))
		if rate == 0 {
			rate = link
		}
		if rate == 0 {
			return 0
		}
		sum += rate * next.Sub(at).Seconds()
		at = next
	}
	return sum / units.Week.Seconds()
}

// longDuration prints a stretch of time roughly: 3 days, 5 h, 12 min.
func longDuration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return sprintf("%.0f days", d.Hours()/24)
	case d >= 2*time.Hour:
		return sprintf("%.0f h", d.Hours())
	case d >= 2*time.Minute:
		return sprintf("%.0f min", d.Minutes())
	}
	return duration(d)
}
