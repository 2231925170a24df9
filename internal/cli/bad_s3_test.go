package cli_test

import (
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// badS3 is a terminal that speaks to a server of the test's.
func badS3(t *testing.T, endpoint string) *terminal {
	dir := t.TempDir()
	h := &hurt{terminal: &terminal{t, dir, machine(dir, "AWS_ACCESS_KEY_ID=someone", "AWS_SECRET_ACCESS_KEY=something-secret", "AWS_REGION=us-east-1", "AWS_ENDPOINT_URL_S3="+endpoint,
		"FIRN_REPO=s3://firn-test/nas", "FIRN_IDENTITY=key.txt")}}
	h.terminal = h.set("FIRN_CACHE_DIR", dir+"/cache").set("FIRN_STATE_DIR", dir+"/state")
	h.write("key.txt", identity+"\n")
	h.write("src/one", "one\n")
	return h.terminal
}

// refuse answers every request with an error of the S3 API.
func refuse(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		if code == "PermanentRedirect" {
			w.Header().Set("x-amz-bucket-region", "eu-west-3")
		}
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
		}
	}
}

// TestS3Refusals: what an S3 server refuses is told in a line, with a hint, by every command that meets it first.
func TestS3Refusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		code   string
		words  []string
	}{
		{"clock", 403, "RequestTimeTooSkewed", []string{"hint: set this machine's clock"}},
		{"key", 403, "InvalidAccessKeyId", []string{"credentials refused", "hint: credentials come from AWS_ACCESS_KEY_ID"}},
		{"secret", 403, "SignatureDoesNotMatch", []string{"credentials refused", "hint: credentials come from"}},
		{"expired", 400, "ExpiredToken", []string{"credentials refused", "log in again"}},
		{"rights", 403, "AccessDenied", []string{"permission denied", "hint: the credentials"}},
		{"region", 301, "PermanentRedirect", []string{"another region", "hint: try --region eu-west-3"}},
		{"bucket", 404, "NoSuchBucket", []string{"no repository here", "hint: check --repo"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(refuse(c.status, c.code, "the server's words"))
			defer server.Close()
			s := badS3(t, server.URL)
			for _, command := range [][]string{{"snapshots"}, {"backup", "src"}, {"restore", "latest", "--target", "out"}, {"init", "--recipient", recipient, "--kit-saved"}} {
				words := append([]string{"firn: error: "}, c.words...)
				switch {
				case command[0] != "init":
				case c.name == "bucket":
					words = []string{"firn: error: ", "firn: hint: "} // it tries to make one
				case c.name == "rights":
					words = []string{"firn: error: ", "the right to put objects is missing", "firn: hint: the credentials"}
				}
				s.fails(words, command...)
			}
			if _, errs, _ := s.run("backup", "src", "--debug"); strings.Contains(errs, "something-secret") {
				t.Error("a secret is shown")
			}
			if _, err := os.Stat(s.dir + "/out"); err == nil {
				t.Error("the target was made")
			}
		})
	}
}

// TestS3NoBucket: a bucket that is not there is made, or the command is told with which somebody else makes it.
func TestS3NoBucket(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && !strings.Contains(strings.Trim(r.URL.Path, "/"), "/") {
			refuse(http.StatusForbidden, "AccessDenied", "not you")(w, r)
			return
		}
		refuse(http.StatusNotFound, "NoSuchBucket", "none")(w, r)
	}))
	defer server.Close()
	s := badS3(t, server.URL)
	s.fails([]string{`error: bucket "firn-test" is not there and may not be made: `, "aws s3api create-bucket --bucket firn-test --region eu-west-3 --create-bucket-configuration LocationConstraint=eu-west-3 --endpoint-url " + server.URL},
		"init", "--recipient", recipient, "--kit-saved", "--region", "eu-west-3")
}

// TestS3Silence: a server that accepts connections and never answers is given up after the time that the user allows, and the first note comes
// after the first try.
func TestS3Silence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
		}
	}()
	s := badS3(t, "http://"+l.Addr().String())
	if _, errs, code := s.run("snapshots", "--timeout", "0.5s"); code != 2 || !strings.Contains(errs, "want at least 1s") {
		t.Errorf("code %d: %s", code, errs)
	}
	if testing.Short() {
		t.Skip("waits for seconds")
	}
	s.interrupted([]string{"firn: note: ", "trying again in "}, "snapshots", "--timeout", "1s")
}

// interrupted runs firn, and ends it once it has said these words.
func (c *terminal) interrupted(words []string, args ...string) {
	c.t.Helper()
	cmd, _ := c.command(args...)
	errs := &heard{words: words, done: func() { _ = cmd.Process.Signal(os.Interrupt) }}
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		c.t.Errorf("firn %q: code %d", args, code)
	}
	for _, w := range append(words, "firn: error: interrupted") {
		if !strings.Contains(errs.text.String(), w) {
			c.t.Errorf("firn %q: no %q in\n%s", args, w, errs.text.String())
		}
	}
}

// heard is what a program says, and calls done once it has said some words. One goroutine writes, which has ended when the program has been waited for.
type heard struct {
	text  strings.Builder
	words []string
	done  func()
	once  sync.Once
}

func (h *heard) Write(b []byte) (int, error) {
	h.text.Write(b)
	if !slices.ContainsFunc(h.words, func(w string) bool { return !strings.Contains(h.text.String(), w) }) {
		h.once.Do(h.done)
	}
	return len(b), nil
}

// careless is an S3 server that does what it is told and ignores conditions, checksums and signatures, as some do.
type careless struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (s *careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	content, there := s.objects[key]
	switch {
	case r.Method == http.MethodPut && key != "":
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.objects[key] = raw
	case r.Method == http.MethodPut:
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Query().Has("list-type"):
		s.list(w, r)
	case key == "":
	case !there:
		refuse(http.StatusNotFound, "NoSuchKey", "none")(w, r)
	default:
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(content))))
		http.ServeContent(w, r, "", time.Now(), strings.NewReader(string(content)))
	}
}

func (s *careless) list(w http.ResponseWriter, r *http.Request) {
	type item struct {
		Key          string
		Size         int
		LastModified string
		ETag         string
	}
	var answer struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		Contents    []item
	}
	q := r.URL.Query()
	for key, content := range s.objects {
		if strings.HasPrefix(key, q.Get("prefix")) && key > q.Get("start-after") {
			answer.Contents = append(answer.Contents, item{key, len(content), time.Now().UTC().Format(time.RFC3339), `"x"`})
		}
	}
	slices.SortFunc(answer.Contents, func(a, b item) int { return strings.Compare(a.Key, b.Key) })
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(answer)
}

// TestS3Careless: an endpoint that ignores conditional writes works, and init says what that means.
func TestS3Careless(t *testing.T) {
	server := httptest.NewServer(&careless{objects: map[string][]byte{}})
	defer server.Close()
	s := badS3(t, server.URL)
	_, errs, code := s.run("init", "--recipient", recipient, "--kit-saved")
	if code != 0 || !strings.Contains(errs, "warning: the store lets objects be overwritten: turn on versioning or an object lock") {
		t.Fatalf("code %d\n%s", code, errs)
	}
	s.fails([]string{"a repository is here already"}, "init", "--recipient", recipient, "--kit-saved")
	s.ok("backup", "src")
	s.ok("restore", "latest", "--target", "out")
	if got, err := os.ReadFile(s.dir + "/out/one"); err != nil || string(got) != "one\n" {
		t.Errorf("%q, %v", got, err)
	}
}
