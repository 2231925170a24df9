package btrfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"firn/internal/program"
	"firn/internal/source"
)

// stream is the stream that leads to a point.
func (p *plan) stream(point source.Point) source.Stream {
	args := []string{"send", "-q"}
	if p.from != nil {
		args = append(args, "-p", p.from.path)
	}
	c := program.Command{Name: p.btrfs, Args: append(args, p.target.path), Idle: p.idle}
	return source.Stream{Path: point.Stream, Open: func(ctx context.Context) (io.ReadCloser, error) {
		r, err := c.Start(ctx)
		if err != nil {
			return nil, err
		}
		return &sent{ReadCloser: r, r: bufio.NewReaderSize(r, 8<<10), want: &header{point.ID, point.From, p.target.name}, about: p.target.path}, nil
	}}
}

// header is how a stream begins: "btrfs-stream", a zero byte, 4 bytes of version, then the command that makes the subvolume (1) or the snapshot of another (2): 4 bytes of length, 2 of kind, 4 of checksum, and attributes,
// each with 2 bytes of kind, 2 of length and its value. 1 is the UUID of what was sent, 15 its name, 20 the UUID of what it starts from. All in little endian (send.h of the kernel).
type header struct{ to, from, name string }

// headerSize is what is looked at, in bytes: the command has a name, two UUIDs and two numbers.
const headerSize = 1 << 10

const magic = "btrfs-stream\x00"

// parseHeader reads it from the first bytes of a stream.
func parseHeader(b []byte) (h header, ok bool) {
	const start = len(magic) + 4
	if len(b) < start+10 || string(b[:len(magic)]) != magic {
		return h, false
	}
	size, kind := binary.LittleEndian.Uint32(b[start:]), binary.LittleEndian.Uint16(b[start+4:])
	b = b[start+10:]
	if kind != 1 && kind != 2 || size > headerSize || int(size) > len(b) {
		return h, false
	}
	for b = b[:size]; len(b) >= 4; {
		kind, size := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if b = b[4:]; size > len(b) {
			return h, false
		}
		switch {
		case kind == 1 && size == 16:
			h.to = formatUUID(b)
		case kind == 15:
			h.name = string(b[:size])
		case kind == 20 && size == 16:
			h.from = formatUUID(b)
		}
		b = b[size:]
	}
	return h, len(b) == 0 && h.to != ""
}

// formatUUID writes the first 16 bytes of b as people do.
func formatUUID(b []byte) string {
	s := hex.EncodeToString(b[:16])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// sent is the output of btrfs send, whose begin is looked at before anybody gets it.
type sent struct {
	io.ReadCloser
	r     *bufio.Reader
	want  *header // nil: looked at already
	about string
}

func (s *sent) Read(b []byte) (int, error) {
	if s.want != nil {
		begin, err := s.r.Peek(headerSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, explain(err, s.about, "btrfs send")
		}
		h, ok := parseHeader(begin)
		switch {
		case !ok:
			return 0, &source.ProducerError{Program: "btrfs send", Err: fmt.Errorf("%w: it begins with %q", errStream, bytes.ToValidUTF8(begin[:min(len(begin), 16)], []byte("?")))}
		case h != *s.want:
			return 0, &source.ProducerError{Program: "btrfs send", Err: fmt.Errorf("%w: it leads from %q to %q %q, not from %q to %q %q", errStream, h.from, h.to, h.name, s.want.from, s.want.to, s.want.name)}
		}
		s.want = nil
	}
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(err, s.about, "btrfs send")
	}
	return n, err
}
