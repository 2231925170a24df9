package zfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
)

// stream is the stream of one dataset.
func (p *plan) stream(ctx context.Context, path string, q part) source.Stream {
	args := p.sendArgs(q)
	want := header{to: q.target.guid}
	if q.from != nil {
		want.from = q.from.guid
	}
	st := source.Stream{Path: path, Size: p.estimate(ctx, q, args)}
	st.Open = func(ctx context.Context) (io.ReadCloser, error) {
		c := program.Command{Name: p.zfs, Args: args, Idle: p.idle}
		r, err := c.Start(ctx)
		if err != nil {
			return nil, err
		}
		return &sent{ReadCloser: r, r: bufio.NewReaderSize(r, 4<<10), command: "zfs " + strings.Join(args, " "), about: q.target.full(), want: &want}, nil
	}
	return st
}

// sendArgs is how a stream is asked for.
func (p *plan) sendArgs(q part) []string {
	args := []string{"send"}
	raw := p.raw == "yes" || p.raw == "auto" && q.dataset.encrypted
	add := func(wanted bool, flag string) {
		if wanted && p.has("send", flag[1]) {
			args = append(args, flag)
		}
	}
	add(raw, "-w")
	add(p.largeBlocks, "-L")
	add(p.embedded, "-e")
	add(p.compressed, "-c")
	add(p.properties && (raw || !q.dataset.encrypted) && (q.from == nil || !q.from.bookmark), "-p") // zfs send takes neither -p nor -I with a bookmark
	if q.from != nil && p.intermediates && !q.from.bookmark {
		return append(args, "-I", q.from.full(), q.target.full())
	}
	if q.from != nil {
		args = append(args, "-i", q.from.full())
	}
	return append(args, q.target.full())
}

// estimate says how long a stream will be, where zfs can tell; else 0, and for a full one what the snapshot refers to.
func (p *plan) estimate(ctx context.Context, q part, args []string) int64 {
	otherwise := int64(0)
	if q.from == nil {
		otherwise = q.target.size
	}
	if !p.has("send", 'n') || !p.has("send", 'P') {
		return otherwise
	}
	out, err := p.output(ctx, q.target.full(), append([]string{"send", "-nP"}, args[1:]...)...)
	if err != nil {
		return otherwise // the stream itself will tell
	}
	if n := parseEstimate(string(out)); n > 0 {
		return n
	}
	return otherwise
}

// parseEstimate reads the line "size<TAB>BYTES".
func parseEstimate(text string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "size" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return max(n, 0)
		}
	}
	return 0
}

// header is how a stream begins: the record DRR_BEGIN (dmu_replay_record in zfs_ioctl.h): 4 bytes of type, 4 of length, then drr_begin: magic, version and kind, time (8 bytes each), type and
// flags (4 each), GUID of the snapshot and of what it starts from (8 each), all as the machine has them that made it.
type header struct{ to, from string } // GUIDs, decimal; from is empty in a full stream

const (
	headerSize  = 56
	headerMagic = 0x2F5bacbac
)

// parseHeader reads it. simple tells that a single stream follows, which alone has the GUIDs there; packages of several (-I, -p) have not.
func parseHeader(b []byte) (h header, simple, ok bool) {
	if len(b) < headerSize {
		return h, false, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint64(b[8:]) != headerMagic {
		order = binary.BigEndian
	}
	if order.Uint32(b) != 0 || order.Uint64(b[8:]) != headerMagic {
		return h, false, false
	}
	h.to = strconv.FormatUint(order.Uint64(b[40:]), 10)
	if from := order.Uint64(b[48:]); from != 0 {
		h.from = strconv.FormatUint(from, 10)
	}
	return h, order.Uint64(b[16:])&3 == 1, true
}

// sent is the output of zfs send, whose begin is looked at before anybody gets it: between the choice of a snapshot and its reading another one can get its name.
type sent struct {
	io.ReadCloser
	r              *bufio.Reader
	command, about string
	want           *header // nil: looked at already, or not one stream
}

func (s *sent) Read(b []byte) (int, error) {
	if s.want != nil {
		begin, err := s.r.Peek(headerSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, explain(err, s.about, s.command)
		}
		h, simple, ok := parseHeader(begin)
		switch {
		case !ok:
			return 0, &source.ProducerError{Program: s.command, Err: fmt.Errorf("%w: it begins with %q", errStream, bytes.ToValidUTF8(begin[:min(len(begin), 16)], []byte("?")))}
		case simple && h != *s.want:
			return 0, &source.ProducerError{Program: s.command, Err: fmt.Errorf("%w: it leads from %q to %q, not from %q to %q", errStream, h.from, h.to, s.want.from, s.want.to)}
		}
		s.want = nil
	}
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(err, s.about, s.command)
	}
	return n, err
}
