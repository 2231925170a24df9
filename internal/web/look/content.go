package look

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firn/internal/browse"
	"firn/internal/store"
	"firn/internal/web"
)

// open calls fn with the content of the file that a request names, if it can be read for nothing; it is open until fn returns, and its first byte was read.
func (x *room) open(r *http.Request, v *visit, fn func(e *browse.Entry, f *browse.File) error) error {
	return v.a.Use(r.Context(), func(o *web.Opened) error {
		return v.a.View(r.Context(), v.it.ID, func(view *browse.View) error {
			e, err := view.Stat(v.path)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(r.Context(), pageTime)
			p, err := x.where(ctx, o, view, v.path, 0)
			cancel()
			if err != nil {
				return err
			}
			if !p.Readable() {
				return unreadable(p)
			}
			f, err := view.OpenFile(r.Context(), v.path)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			if _, err := f.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
				return coldAfterAll(err)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			return fn(e, f)
		})
	})
}

func unreadable(p *place) error {
	e := &web.StatusError{Code: http.StatusConflict, Text: "the content lies in a cold class and would have to be thawed first", Hint: "put it into the restore basket: the plan says what that costs and how long it takes"}
	switch p.State {
	case thawing:
		e.Text, e.Hint = "the content is being thawed", "it can be read when that is done"
	case lost:
		e.Code, e.Text, e.Hint = http.StatusInternalServerError, "some of the content is in no pack that is known", "firn check tells what is damaged, firn repair what can be done"
	}
	return e
}

// coldAfterAll is an error of reading where what the index calls hot was moved to a cold class since.
func coldAfterAll(err error) error {
	if errors.Is(err, store.ErrCold) {
		return unreadable(&place{State: cold})
	}
	return err
}

// download sends a file, or ranges of it.
func (x *room) download(w http.ResponseWriter, r *http.Request, v *visit) error {
	return x.open(r, v, func(e *browse.Entry, f *browse.File) error {
		w, err := lasting(w, r, f.Size())
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		safe(w.Header(), "attachment", nameOf(v.path))
		send(w, r, v, e, f)
		return nil
	})
}

// raw sends a picture.
func (x *room) raw(w http.ResponseWriter, r *http.Request, v *visit) error {
	return x.open(r, v, func(e *browse.Entry, f *browse.File) error {
		head := make([]byte, magicLength)
		n, err := io.ReadFull(f, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		kind := pictureType(head[:n])
		if kind == "" {
			return &web.StatusError{Code: http.StatusUnsupportedMediaType, Text: "that is no picture that is shown here", Hint: "PNG, JPEG, GIF and WebP are; anything else can be downloaded"}
		}
		w, err := lasting(w, r, f.Size())
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", kind)
		safe(w.Header(), "inline", nameOf(v.path))
		send(w, r, v, e, f)
		return nil
	})
}

// safe sets what keeps a browser from taking content for more than it is.
func safe(h http.Header, disposition string, name []byte) {
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-store")
	h.Set("Content-Disposition", contentDisposition(disposition, name))
}

// send answers with the content, whole or in ranges. What goes wrong on the way ends the connection before the announced length, so that nobody takes a part for the whole.
func send(w http.ResponseWriter, r *http.Request, v *visit, e *browse.Entry, f *browse.File) {
	if e.Hash != "" {
		w.Header().Set("ETag", `"`+e.Hash+"-"+v.it.ID.String()+`"`)
	}
	var changed time.Time
	if e.Mtime.Year() >= 1970 && e.Mtime.Year() < 9999 {
		changed = e.Mtime
	}
	http.ServeContent(w, r, "", changed, f)
}

// Downloads of more than longFile bytes may take as long as they like, as long as something of them is taken within stallTime.
const (
	longFile  = 4 << 20
	stallTime = 2 * time.Minute
)

// lasting lets an answer of a size take the time that it takes.
func lasting(w http.ResponseWriter, r *http.Request, size int64) (http.ResponseWriter, error) {
	if size <= longFile {
		return w, nil
	}
	return &patient{ResponseWriter: w, c: http.NewResponseController(w)}, web.Long(w, r)
}

// patient puts the deadline of an answer off as it is taken.
type patient struct {
	http.ResponseWriter
	c    *http.ResponseController
	next time.Time
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *patient) Write(b []byte) (int, error) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(stallTime / 8)
		_ = p.c.SetWriteDeadline(now.Add(stallTime)) // where there are no deadlines nothing is put off
	}
	return p.ResponseWriter.Write(b)
}

// contentDisposition names a file for whoever saves it (RFC 6266): in ASCII for old programs, and exactly as far as it is UTF-8.
func contentDisposition(kind string, name []byte) string {
	var plain, exact strings.Builder
	for _, c := range strings.ToValidUTF8(string(name), "\ufffd") {
		if c < 0x20 || c == 0x7f || c == '/' || c == '\\' || !strconv.IsPrint(c) {
			c = '_'
		}
		ascii := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c < 0x80 && strings.ContainsRune("._-", c)
		switch {
		case ascii:
			plain.WriteRune(c)
			exact.WriteRune(c)
		case c == ' ':
			plain.WriteByte(' ')
			exact.WriteString("%20")
		default:
			plain.WriteByte('_')
			for _, b := range []byte(string(c)) {
				fmt.Fprintf(&exact, "%%%02X", b)
			}
		}
	}
	return kind + `; filename="` + plain.String() + `"; filename*=UTF-8''` + exact.String()
}

// magicLength is how much of a file tells whether it is a picture.
const magicLength = 16

// pictureType is the type of a picture by its first bytes; empty: it is none that browsers show without running anything.
func pictureType(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		return "image/gif"
	case len(head) >= 16 && bytes.HasPrefix(head, []byte("RIFF")) && bytes.HasPrefix(head[8:], []byte("WEBPVP8")):
		return "image/webp"
	}
	return ""
}
