package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/store"
	"firn/internal/store/retry"
	"firn/internal/storetest"
	"firn/internal/storetest/versitygw"
)

// yard is a server that takes objects in parts and keeps them in memory, with a few ways of its own.
type yard struct {
	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]map[int][]byte // by id
	counts  map[string]int
	last    int // id

	noSums    bool // does not list the sums of parts
	etags     bool // ETags are no MD5
	refuses   []string
	limit     int               // parts
	fail      map[string]string // operation: status and code, once
	atOnce    int
	mostTimes int // parts at once that were seen
	wait      func()
}

func newYard() *yard {
	return &yard{objects: map[string][]byte{}, uploads: map[string]map[int][]byte{}, counts: map[string]int{}, fail: map[string]string{}, limit: maxParts}
}

func (y *yard) operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodHead:
		return "head"
	case q.Has("uploads") && r.Method == http.MethodPost:
		return "create"
	case q.Has("uploads"):
		return "uploads"
	case r.Method == http.MethodPost:
		return "complete"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "abort"
	case r.Method == http.MethodGet && q.Has("uploadId"):
		return "parts"
	case q.Has("partNumber"):
		return "part"
	case r.Method == http.MethodPut:
		return "put"
	}
	return strings.ToLower(r.Method)
}

func (y *yard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := y.operation(r)
	y.mu.Lock()
	y.counts[op]++
	if op == "part" {
		y.atOnce++
		y.mostTimes = max(y.mostTimes, y.atOnce)
		defer func() { y.mu.Lock(); y.atOnce--; y.mu.Unlock() }()
	}
	wait := y.wait
	y.mu.Unlock()
	if op == "part" && wait != nil {
		wait()
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if said, ok := y.fail[op]; ok {
		delete(y.fail, op)
		status, code, _ := strings.Cut(said, " ")
		n, _ := strconv.Atoi(status)
		sayError(w, n, code, "told so")
		return
	}
	for header, what := range map[string]string{"If-None-Match": store.Conditions, "X-Amz-Checksum-Sha256": store.Sums, "X-Amz-Checksum-Algorithm": store.Sums} {
		if r.Header.Get(header) != "" && slices.Contains(y.refuses, what) {
			sayError(w, 501, "NotImplemented", "a header that is not known")
			return
		}
	}
	y.serve(w, r, op, body)
}

func (y *yard) serve(w http.ResponseWriter, r *http.Request, op string, body []byte) {
	id, number := r.URL.Query().Get("uploadId"), 0
	parts, known := y.uploads[id]
	if id != "" && !known {
		sayError(w, 404, "NoSuchUpload", "told so")
		return
	}
	if r.Method == http.MethodGet && r.URL.Query().Has("list-type") {
		_, _ = io.WriteString(w, "<ListBucketResult/>")
		return
	}
	switch op {
	case "head":
		content, ok := y.objects[r.URL.Path]
		if !ok {
			w.WriteHeader(404)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	case "create":
		y.last++
		y.uploads[fmt.Sprint("u", y.last)] = map[int][]byte{}
		fmt.Fprintf(w, `<InitiateMultipartUploadResult><UploadId>u%d</UploadId></InitiateMultipartUploadResult>`, y.last)
	case "part":
		number, _ = strconv.Atoi(r.URL.Query().Get("partNumber"))
		if number > y.limit {
			sayError(w, 400, "InvalidArgument", "Part number must be an integer between 1 and 1000, inclusive")
			return
		}
		parts[number] = body
		w.Header().Set("ETag", y.etag(body))
	case "parts":
		y.list(w, parts)
	case "abort":
		delete(y.uploads, id)
		w.WriteHeader(204)
	case "complete":
		y.join(w, r, parts, body)
	case "put":
		if _, there := y.objects[r.URL.Path]; there && r.Header.Get("If-None-Match") != "" {
			sayError(w, 412, "PreconditionFailed", "told so")
			return
		}
		y.objects[r.URL.Path] = body
	}
}

func (y *yard) etag(body []byte) string {
	if y.etags {
		return `"opaque"`
	}
	return fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(body)))
}

func (y *yard) list(w io.Writer, parts map[int][]byte) {
	_, _ = io.WriteString(w, `<ListPartsResult>`)
	for number, body := range parts {
		fmt.Fprintf(w, `<Part><PartNumber>%d</PartNumber><Size>%d</Size><ETag>%s</ETag>`, number, len(body), y.etag(body))
		if !y.noSums {
			fmt.Fprintf(w, `<ChecksumSHA256>%s</ChecksumSHA256>`, *encode(sha256.Sum256(body)))
		}
		_, _ = io.WriteString(w, `</Part>`)
	}
	_, _ = io.WriteString(w, `</ListPartsResult>`)
}

func (y *yard) join(w http.ResponseWriter, r *http.Request, parts map[int][]byte, body []byte) {
	if _, there := y.objects[r.URL.Path]; there && r.Header.Get("If-None-Match") != "" {
		sayError(w, 412, "PreconditionFailed", "told so")
		return
	}
	var list struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(body, &list); err != nil {
		sayError(w, 400, "MalformedXML", err.Error())
		return
	}
	var whole []byte
	for _, p := range list.Part {
		if got, ok := parts[p.PartNumber]; !ok || y.etag(got) != p.ETag {
			sayError(w, 400, "InvalidPart", "told so")
			return
		}
		whole = append(whole, parts[p.PartNumber]...)
	}
	y.objects[r.URL.Path] = whole
	delete(y.uploads, r.URL.Query().Get("uploadId"))
	_, _ = io.WriteString(w, `<CompleteMultipartUploadResult><ETag>"n"</ETag></CompleteMultipartUploadResult>`)
}

// slip remembers an upload.
type slip struct {
	id  string
	set []string
}

func (m *slip) Upload() string      { return m.id }
func (m *slip) SetUpload(id string) { m.id = id; m.set = append(m.set, id) }

// breaking is content that fails once more than some bytes of it were read.
type breaking struct {
	io.ReadSeeker
	left int
}

var errBreaks = errors.New("content breaks off")

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBreaks
	}
	n, err := b.ReadSeeker.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// onlySeeker hides that content can be read at several places.
type onlySeeker struct{ io.ReadSeeker }

const part = int64(minPart)

func TestPartSize(t *testing.T) {
	s := &Store{}
	for _, size := range []int64{int64(maxPut) + 1, 3 << 40, int64(maxObject)} {
		got, err := s.partSize(size, 0)
		if err != nil || got < int64(minPart) || got > int64(maxPart) || (size+got-1)/got > maxParts {
			t.Errorf("%d: parts of %d, %v", size, got, err)
		}
	}
	for _, c := range []struct {
		o          Options
		size, want int64
		part       int64
	}{
		{Options{}, 0, 0, 0}, {Options{}, int64(maxPut), 0, 0}, {Options{}, 100 << 20, 16 << 20, 16 << 20}, {Options{}, 16 << 20, 16 << 20, 0}, {Options{}, 6 << 20, 1, part},
		{Options{}, part, 1, 0}, {Options{PartsAbove: 1}, 2, 0, int64(defaultPart)}, {Options{PartsAbove: 1, PartSize: 8 << 20}, 2, 0, 8 << 20},
		{Options{PartsAbove: 1}, 2, part, 0}, {Options{MaxParts: 1000}, 10 << 30, part, 11 << 20}, {Options{Endpoint: "https://s3.fr-par.scw.cloud"}, 10 << 30, part, 11 << 20},
		{Options{Known: &store.Abilities{MaxParts: 1000}}, 10 << 30, part, 11 << 20}, {Options{Known: &store.Abilities{MaxParts: 1 << 30}}, 10 << 30, part, part},
		{Options{}, 10 << 30, 6 << 30, 5 << 30},
	} {
		s := &Store{o: c.o}
		s.known.Store(c.o.Known)
		if got, err := s.partSize(c.size, c.want); err != nil || got != c.part {
			t.Errorf("%+v, %d bytes by %d: %d, %v", c.o, c.size, c.want, got, err)
		}
	}
	if _, err := s.partSize(int64(maxObject)+1, 0); err == nil {
		t.Error("an object above the limit")
	}
	if _, err := (&Store{o: Options{MaxParts: 2}}).partSize(20<<30, 0); err == nil {
		t.Error("an object of more parts than there may be")
	}
}

func TestSaved(t *testing.T) {
	for _, m := range []saved{{part, "", "id"}, {part + 1, "DEEP_ARCHIVE", "with a space"}} {
		if got, ok := parseSaved(m.String()); !ok || got != m {
			t.Errorf("%q: %+v, %v", m.String(), got, ok)
		}
	}
	for _, bad := range []string{"", "id", "1 2 3", "2 5242880 - id", "1 5 - id", "1 x - id", "1 5242880 - ", "1 99999999999 - id"} {
		if m, ok := parseSaved(bad); ok {
			t.Errorf("%q: %+v", bad, m)
		}
	}
}

func FuzzParseSaved(f *testing.F) {
	f.Add("1 5242880 - id")
	f.Fuzz(func(t *testing.T, text string) {
		if m, ok := parseSaved(text); ok {
			if again, ok := parseSaved(m.String()); !ok || again != m {
				t.Errorf("%q: %+v, %+v", text, m, again)
			}
		}
	})
}

// Parts go out several at once where the content can be read so, and one by one where not; what arrives is the same.
func TestPartsAtOnce(t *testing.T) {
	content := storetest.Content(1, int(part*6+part/2))
	for name, r := range map[string]io.ReadSeeker{"at once": bytes.NewReader(content), "one by one": onlySeeker{bytes.NewReader(content)}} {
		y := newYard()
		gate := make(chan struct{}, 100)
		if name == "at once" { // nobody goes on before three are there
			var once sync.Once
			y.wait = func() {
				y.mu.Lock()
				if y.atOnce >= 3 {
					once.Do(func() { close(gate) })
				}
				y.mu.Unlock()
				<-gate
			}
		}
		s := against(t, y.ServeHTTP, func(o *Options) { o.Idle = time.Minute })
		m := &slip{}
		o := store.PutOptions{Sum: sha256.Sum256(content), Class: "DEEP_ARCHIVE", Parts: part, Memory: m}
		if err := s.Put(t.Context(), "a", r, int64(len(content)), o); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(y.objects["/bucket/a"], content) || y.counts["part"] != 7 || len(y.uploads) > 0 {
			t.Errorf("%s: %v", name, y.counts)
		}
		if most := y.mostTimes; name == "one by one" && most != 1 || most > partsAtOnce {
			t.Errorf("%s: %d parts at once", name, most)
		}
		if len(m.set) != 2 || m.set[0] != "1 5242880 DEEP_ARCHIVE u1" || m.id != "" {
			t.Errorf("remembered %q", m.set)
		}
	}
}

// An upload that was cut off goes on: only what is missing, or is not what it should be, is sent.
func TestPartsGoOn(t *testing.T) {
	content := storetest.Content(2, int(part*3+100))
	for _, c := range []struct {
		name           string
		noSums, opaque bool
		spoil          int
		sent           int
	}{
		{"sums", false, true, 0, 2}, {"no sums", true, false, 0, 2}, {"no sums, ETags that say nothing", true, true, 0, 4}, {"another first part", false, false, 1, 3},
		{"another first part, no sums", true, false, 1, 3},
	} {
		y := newYard()
		y.noSums, y.etags = c.noSums, c.opaque
		s := against(t, y.ServeHTTP, nil)
		m := &slip{}
		o := store.PutOptions{Sum: sha256.Sum256(content), Parts: part, Memory: m}
		err := s.Put(t.Context(), "a", &breaking{bytes.NewReader(content), int(4*part + part/2)}, int64(len(content)), o)
		if err == nil || y.counts["part"] != 2 || m.id == "" || y.counts["abort"] != 0 {
			t.Fatalf("%s: %v, %v, remembered %q", c.name, err, y.counts, m.id)
		}
		if c.spoil > 0 {
			y.uploads["u1"][c.spoil] = bytes.Repeat([]byte{7}, int(part))
		}
		y.counts = map[string]int{}
		other := o
		other.Parts = 2 * part // what was begun decides
		if err := s.Put(t.Context(), "a", bytes.NewReader(content), int64(len(content)), other); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if !bytes.Equal(y.objects["/bucket/a"], content) || y.counts["part"] != c.sent || y.counts["create"] != 0 || m.id != "" {
			t.Errorf("%s: %v, remembered %q", c.name, y.counts, m.id)
		}
	}
}

func TestPartsBeginAnew(t *testing.T) {
	content := storetest.Content(3, int(part+100))
	size := int64(len(content))
	for _, c := range []struct {
		name, memory string
		fail         map[string]string
		there        []byte
		want         error
		aborts       int
		remembered   bool
	}{
		{name: "nonsense", memory: "what is this"},
		{name: "gone", memory: "1 5242880 - u99"},
		{name: "gone, and the object is there", memory: "1 5242880 - u99", there: content, want: store.ErrExist},
		{name: "gone, and an object of another size is there", memory: "1 5242880 - u99", there: content[:10], want: store.ErrExist, aborts: 1},
		{name: "another class", memory: "1 5242880 GLACIER u50", aborts: 1},
		{name: "parts may not be listed", memory: "1 5242880 - u50", fail: map[string]string{"parts": "403 AccessDenied"}, aborts: 1},
		{name: "parts cannot be listed", memory: "1 5242880 - u50", fail: map[string]string{"parts": "501 NotImplemented"}, aborts: 1},
		{name: "no answer now", memory: "1 5242880 - u50", fail: map[string]string{"parts": "503 SlowDown"}, want: errAny, remembered: true},
		{name: "a part is refused for now", fail: map[string]string{"part": "503 SlowDown"}, want: errAny, remembered: true},
		{name: "credentials are refused", fail: map[string]string{"part": "403 InvalidAccessKeyId"}, want: store.ErrAuth, remembered: true},
		{name: "a part is damaged", fail: map[string]string{"part": "400 BadDigest"}, want: store.ErrChecksum, aborts: 1},
		{name: "a part is refused for ever", fail: map[string]string{"part": "400 InvalidArgument"}, want: errAny, aborts: 1},
		{name: "the upload is gone meanwhile", fail: map[string]string{"part": "404 NoSuchUpload"}, want: errNoUpload, aborts: 1},
		{name: "the parts are not known in the end", fail: map[string]string{"complete": "400 InvalidPart"}, want: errPart, aborts: 1},
		{name: "the end is unclear", fail: map[string]string{"complete": "500 InternalError"}, want: errAny, remembered: true},
		{name: "the object is there", there: content, want: store.ErrExist, aborts: 1},
	} {
		y := newYard()
		y.uploads["u50"] = map[int][]byte{}
		if c.there != nil {
			y.objects["/bucket/a"] = c.there
		}
		for op, said := range c.fail {
			y.fail[op] = said
		}
		s := against(t, y.ServeHTTP, nil)
		m := &slip{id: c.memory}
		err := s.Put(t.Context(), "a", bytes.NewReader(content), size, store.PutOptions{Sum: sha256.Sum256(content), Parts: part, Memory: m})
		if c.want == nil && (err != nil || !bytes.Equal(y.objects["/bucket/a"], content)) || c.want != nil && (err == nil || c.want != errAny && !errors.Is(err, c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if y.counts["abort"] != c.aborts || (m.id != "") != c.remembered {
			t.Errorf("%s: %v, remembered %q", c.name, y.counts, m.id)
		}
	}
}

var errAny = errors.New("any error")

// Without a memory an upload that fails is given up; with the wrong sum, too. An object that fits into one part leaves no memory.
func TestPartsGivenUp(t *testing.T) {
	content := storetest.Content(4, int(part+100))
	y := newYard()
	s := against(t, y.ServeHTTP, nil)
	err := s.Put(t.Context(), "a", &breaking{bytes.NewReader(content), int(part + part/2)}, int64(len(content)), store.PutOptions{Parts: part})
	if err == nil || y.counts["abort"] != 1 {
		t.Errorf("%v, %v", err, y.counts)
	}
	m := &slip{}
	err = s.Put(t.Context(), "a", bytes.NewReader(content), int64(len(content)), store.PutOptions{Sum: sha256.Sum256(nil), Parts: part, Memory: m})
	if !errors.Is(err, store.ErrChecksum) || y.counts["abort"] != 2 || m.id != "" || len(y.uploads) != 0 {
		t.Errorf("%v, %v, remembered %q", err, y.counts, m.id)
	}
	y.uploads["u50"] = nil
	m.id = "1 5242880 - u50"
	if err := s.Put(t.Context(), "b", bytes.NewReader(content[:10]), 10, store.PutOptions{Parts: part, Memory: m}); err != nil || m.id != "" || len(y.uploads) != 0 {
		t.Errorf("%v, remembered %q, %d uploads", err, m.id, len(y.uploads))
	}
	err = s.Put(t.Context(), "c", bytes.NewReader(content), int64(len(content))+1, store.PutOptions{Parts: part})
	if !errors.Is(err, errShort) || len(y.uploads) != 0 {
		t.Errorf("content that is too short: %v, %d uploads", err, len(y.uploads))
	}
	ctx, cancel := context.WithCancel(t.Context())
	y.wait = cancel
	m.id = ""
	err = s.Put(ctx, "d", bytes.NewReader(content), int64(len(content)), store.PutOptions{Parts: part, Memory: m})
	if !errors.Is(err, context.Canceled) || m.id == "" {
		t.Errorf("cancelled: %v, remembered %q", err, m.id)
	}
}

// The wrapper that repeats calls takes up what a try has sent.
func TestPartsRetry(t *testing.T) {
	content := storetest.Content(5, int(part*2+5))
	y := newYard()
	y.fail["complete"] = "500 InternalError"
	s := retry.New(against(t, y.ServeHTTP, nil), retry.Options{Sleep: func(context.Context, time.Duration) error { return nil }})
	m := &slip{}
	o := store.PutOptions{Sum: sha256.Sum256(content), Parts: part, Memory: m}
	if err := s.Put(t.Context(), "a", bytes.NewReader(content), int64(len(content)), o); err != nil {
		t.Fatal(err)
	}
	if y.counts["part"] != 3 || y.counts["complete"] != 2 || y.counts["create"] != 1 || m.id != "" {
		t.Errorf("%v, remembered %q", y.counts, m.id)
	}
}

// A server that refuses what it does not know is asked without it, once a probe has found that out.
func TestRefusals(t *testing.T) {
	content := storetest.Content(6, int(part*2+5))
	for _, refuses := range [][]string{{store.Conditions}, {store.Sums}, {store.Conditions, store.Sums}} {
		y := newYard()
		y.refuses = refuses
		s := against(t, y.ServeHTTP, nil)
		if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, store.PutOptions{}); !errors.Is(err, store.ErrUnsupported) {
			t.Errorf("%q: %v", refuses, err)
		}
		found, err := store.Probe(t.Context(), s, "")
		if err != nil || !slices.Equal(found.Refuses, refuses) || found.CreateOnly == slices.Contains(refuses, store.Conditions) {
			t.Errorf("%q: %+v, %v", refuses, found, err)
		}
		// the store that was probed has learnt it, another is told
		for name, s := range map[string]*Store{"probed": s, "told": against(t, y.ServeHTTP, func(o *Options) { o.Known = &found })} {
			m := &slip{}
			o := store.PutOptions{Sum: sha256.Sum256(content), Parts: part, Memory: m}
			if err := s.Put(t.Context(), name, bytes.NewReader(content), int64(len(content)), o); err != nil || !bytes.Equal(y.objects["/bucket/"+name], content) {
				t.Errorf("%q, %s, in parts: %v", refuses, name, err)
			}
			if err := s.Put(t.Context(), name+"-small", strings.NewReader("small"), 5, store.PutOptions{Sum: sha256.Sum256([]byte("small"))}); err != nil {
				t.Errorf("%q, %s: %v", refuses, name, err)
			}
			if err := s.Put(t.Context(), name, strings.NewReader("x"), 1, store.PutOptions{}); !errors.Is(err, store.ErrExist) {
				t.Errorf("%q, %s, again: %v", refuses, name, err)
			}
			err := s.Put(t.Context(), name+"-wrong", strings.NewReader("wrong"), 5, store.PutOptions{Sum: sha256.Sum256(nil)})
			if slices.Contains(refuses, store.Sums) != errors.Is(err, store.ErrChecksum) {
				t.Errorf("%q, %s, a wrong sum: %v", refuses, name, err)
			}
			if weak := len(s.Weakness()) > 0; weak != slices.Contains(refuses, store.Conditions) {
				t.Errorf("%q: weak %v", refuses, weak)
			}
		}
	}
	// what is stored without a sum is weighed
	y := newYard()
	s := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			r.Body = io.NopCloser(io.LimitReader(r.Body, 2))
		}
		y.ServeHTTP(w, r)
	}, func(o *Options) { o.Known = &store.Abilities{Refuses: []string{store.Sums}} })
	if err := s.Put(t.Context(), "a", strings.NewReader("abc"), 3, store.PutOptions{}); !errors.Is(err, store.ErrChecksum) {
		t.Errorf("a server that keeps a part only: %v", err)
	}
	// a refusal that has another reason stays what it is
	s = against(t, refuse(400, "InvalidStorageClass"), nil)
	if _, err := store.Probe(t.Context(), s, "NONE"); err == nil || !strings.Contains(err.Error(), "InvalidStorageClass") || s.refused(store.Sums) {
		t.Errorf("%v", err)
	}
}

func TestCountParts(t *testing.T) {
	for limit, want := range map[int]int{1000: 1000, maxParts: maxParts} {
		y := newYard()
		y.limit = limit
		s := against(t, y.ServeHTTP, nil)
		found, err := store.Examine(t.Context(), s, store.ProbeOptions{Parts: true})
		if err != nil || found.MaxParts != want || len(y.uploads) > 0 || s.maxParts() != want {
			t.Errorf("%+v, %v, %d uploads are left", found, err, len(y.uploads))
		}
	}
	for fail, temporary := range map[string]bool{"503 SlowDown": true, "403 AccessDenied": false} {
		for _, op := range []string{"create", "part"} {
			y := newYard()
			y.fail[op] = fail
			if n, err := against(t, y.ServeHTTP, nil).CountParts(t.Context(), "a"); err == nil || n != 0 || store.IsTemporary(err) != temporary || len(y.uploads) > 0 {
				t.Errorf("%s says %s: %d, %v", op, fail, n, err)
			}
		}
	}
}

// Uploads that were cut off are found and given up, those of others and the young ones are left.
func TestSweep(t *testing.T) {
	page := func(truncated bool, uploads ...string) string {
		out := fmt.Sprintf("<ListMultipartUploadsResult><IsTruncated>%v</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>m</NextUploadIdMarker>", truncated)
		for i := 0; i+2 < len(uploads); i += 3 {
			out += fmt.Sprintf("<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated><StorageClass>GLACIER</StorageClass></Upload>",
				uploads[i], uploads[i+1], uploads[i+2])
		}
		return out + "</ListMultipartUploadsResult>"
	}
	old, young := "2020-01-01T00:00:00Z", "2020-01-09T00:00:00Z"
	var gone []string
	s := against(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodDelete:
			gone = append(gone, r.URL.Path+" "+r.URL.Query().Get("uploadId"))
			if r.URL.Query().Get("uploadId") == "u5" {
				sayError(w, 404, "NoSuchUpload", "told so")
				return
			}
			w.WriteHeader(204)
		case r.URL.Query().Get("key-marker") == "":
			_, _ = io.WriteString(w, page(true, "p/data/a", "u1", old, "p/data/b", "u2", young, "other", "u3", old))
		default:
			_, _ = io.WriteString(w, page(false, "p/meta/a", "u4", old, "p/data/c", "u5", old, "p/data/x y", "u6", old, "data/c", "u7", old))
		}
	}, func(o *Options) { o.Prefix = "p" })
	n, err := store.Sweep(t.Context(), s, "data/", time.Date(2020, 1, 5, 0, 0, 0, 0, time.UTC))
	if want := []string{"/bucket/p/data/a u1", "/bucket/p/data/c u5"}; err != nil || n != 2 || !slices.Equal(gone, want) {
		t.Errorf("%d, %v, %q", n, err, gone)
	}
	stop := errors.New("enough")
	if err := s.Uploads(t.Context(), "", func(u store.Upload) error {
		if u.Name != "data/a" || u.Class != "GLACIER" || u.ID != "u1" || u.Begun.Year() != 2020 {
			t.Errorf("%+v", u)
		}
		return stop
	}); err != stop {
		t.Error(err)
	}
	if err := s.Abandon(t.Context(), store.Upload{Name: "../x"}); !errors.Is(err, store.ErrName) {
		t.Error(err)
	}
	stuck := against(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, page(true)) }, nil)
	if err := stuck.Uploads(t.Context(), "", func(store.Upload) error { return nil }); err == nil {
		t.Error("a listing that never ends")
	}
	if n, err := store.Sweep(t.Context(), against(t, refuse(403, "AccessDenied"), nil), "", time.Now()); n != 0 || !errors.Is(err, store.ErrDenied) {
		t.Errorf("%d, %v", n, err)
	}
}

// Against a real server: an upload that was cut off is listed, goes on, and can be swept.
func TestPartsOfServer(t *testing.T) {
	server := versitygw.Start(t)
	s := open(t, server, nil)
	content := storetest.Content(7, int(part*3+100))
	m := &slip{}
	o := store.PutOptions{Sum: sha256.Sum256(content), Parts: part, Memory: m}
	if err := s.Put(t.Context(), "data/a", &breaking{bytes.NewReader(content), int(4*part + part/2)}, int64(len(content)), o); err == nil || m.id == "" {
		t.Fatalf("%v, remembered %q", err, m.id)
	}
	var found []store.Upload
	if err := s.Uploads(t.Context(), "data/", func(u store.Upload) error { found = append(found, u); return nil }); err != nil || len(found) != 1 ||
		found[0].Name != "data/a" || time.Since(found[0].Begun) > time.Hour {
		t.Errorf("%+v, %v", found, err)
	}
	sent := s.Requests()["UploadPart"]
	if err := s.Put(t.Context(), "data/a", bytes.NewReader(content), int64(len(content)), o); err != nil {
		t.Fatal(err)
	}
	if n := s.Requests()["UploadPart"] - sent; n != 2 {
		t.Errorf("%d parts were sent again", n)
	}
	if got, err := storetest.Get(t.Context(), s, "data/a", 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := s.Put(t.Context(), "data/b", &breaking{bytes.NewReader(content), int(part * 2)}, int64(len(content)), o); err == nil {
		t.Fatal("content that breaks off")
	}
	if n, err := store.Sweep(t.Context(), s, "", time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("%d young uploads, %v", n, err)
	}
	if n, err := store.Sweep(t.Context(), s, "", time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("%d uploads, %v", n, err)
	}
	if n, err := s.CountParts(t.Context(), "data/c"); n != maxParts || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func BenchmarkPutParts(b *testing.B) {
	content := storetest.Content(1, 256<<20)
	sum := sha256.Sum256(content)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Query().Has("uploads") {
			_, _ = io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`)
		} else if r.Method == http.MethodPost {
			_, _ = io.WriteString(w, `<CompleteMultipartUploadResult/>`)
		}
	}))
	defer server.Close()
	s, err := Open(b.Context(), Options{Bucket: "bucket", Endpoint: server.URL, Credentials: awscredentials.NewStaticCredentialsProvider("x", "y", "")})
	if err != nil {
		b.Fatal(err)
	}
	for name, r := range map[string]io.ReadSeeker{"at once": bytes.NewReader(content), "one by one": onlySeeker{bytes.NewReader(content)}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Put(b.Context(), "a", r, int64(len(content)), store.PutOptions{Sum: sum, Parts: 16 << 20}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
