// Package versitygw runs Versity S3 Gateway, a strict S3 server, for tests. The program is pinned in tools/go.mod, built on
// first use into the user's cache folder, and serves a temporary folder on the loopback interface.
//
// Where it cannot be built or started a test is skipped with the reason, or fails if the environment says CI=true.
package versitygw

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	program      = "github.com/versity/versitygw/cmd/versitygw"
	buildTimeout = 9 * time.Minute
	startTimeout = 5 * time.Minute
	startTries   = 3
)

// Server is a server under way. It has no bucket.
type Server struct {
	versions       string // folder of versions; empty: it keeps none
	Endpoint       string // http://127.0.0.1:port
	Region         string
	Access, Secret string // of the root user
	Folder         string // where its objects lie
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, "")
}

// StartVersioned starts a server whose buckets can keep versions.
func StartVersioned(t testing.TB) *Server {
	t.Helper()
	return start(t, t.TempDir())
}

func start(t testing.TB, versions string) *Server {
	t.Helper()
	path, err := built()
	if err != nil {
		unavailable(t, err)
	}
	s := &Server{Region: "us-east-1", Access: secret(10), Secret: secret(20), Folder: t.TempDir(), versions: versions}
	for range startTries { // the port may be taken between the look and the start
		var stop func()
		if stop, err = s.run(path); err == nil {
			t.Cleanup(stop)
			return s
		}
	}
	unavailable(t, err)
	return nil
}

func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no S3 server: %v", err)
	}
	t.Skipf("no S3 server: %v", err)
}

func secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

var built = sync.OnceValues(build)

// build returns the path of the program, built if it is not in the cache folder.
func build() (string, error) {
	tools, err := toolsFolder()
	if err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(tools, "go.sum"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	key := sha256.Sum256(append(sums, runtime.Version()+runtime.GOOS+runtime.GOARCH...))
	folder := filepath.Join(cache, "firn-test-tools", hex.EncodeToString(key[:8]))
	path := filepath.Join(folder, "versitygw")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	return path, compile(tools, folder, path)
}

func compile(tools, folder, path string) error {
	temp, err := os.MkdirTemp(folder, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	out := filepath.Join(temp, filepath.Base(path))
	cmd := exec.CommandContext(ctx, "go", "build", "-C", tools, "-o", out, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", program, err, bytes.TrimSpace(text))
	}
	return os.Rename(out, path)
}

// toolsFolder finds tools/ beside the go.mod above the folder of the test.
func toolsFolder() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		tools := filepath.Join(dir, "tools")
		if _, err := os.Stat(filepath.Join(tools, "go.mod")); err == nil {
			return tools, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no tools/go.mod above the working directory")
		}
		dir = parent
	}
}

// run starts the server and waits until it answers. stop ends it and waits for its end.
func (s *Server) run(path string) (stop func(), err error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.Endpoint = "http://" + address
	var output bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	health := "/" + secret(10) // another server may have taken the port meanwhile, and answers something else
	args := []string{"--port", address, "--region", s.Region, "--health", health, "--keep-alive", "--quiet", "posix"}
	if s.versions != "" {
		args = append(args, "--versioning-dir", s.versions)
	}
	cmd := exec.CommandContext(ctx, path, append(args, s.Folder)...)
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + s.Access, "ROOT_SECRET_KEY=" + s.Secret, "PATH=" + os.Getenv("PATH"), "HOME=" + s.Folder}
	cmd.Stdout, cmd.Stderr = &output, &output
	endWithParent(cmd)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel ends the server with the thread that started it
		defer runtime.UnlockOSThread()
		ended <- cmd.Run()
	}()
	stop = func() {
		cancel()
		<-ended
	}
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		select {
		case err := <-ended:
			cancel()
			return nil, fmt.Errorf("server ended: %w: %s", err, strings.TrimSpace(output.String()))
		case <-time.After(20 * time.Millisecond):
		}
		if healthy(s.Endpoint + health) {
			return stop, nil
		}
	}
	stop()
	return nil, errors.New("server does not answer: " + strings.TrimSpace(output.String()))
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func healthy(url string) bool {
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
