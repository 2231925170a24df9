package pages

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
)

// programs are those under test, built once: firn, the S3 server with cold classes, and a firn whose clock goes wrong by FIRN_PAGES_SHIFT, which makes the past.
var programs struct {
	sync.Once
	folder string
	err    error
}

// shared is what closeShared ends.
var shared []func()

func closeShared() {
	for i := len(shared) - 1; i >= 0; i-- {
		shared[i]()
	}
}

// built returns the folder with the programs.
func built(t *testing.T) string {
	t.Helper()
	programs.Do(func() { programs.folder, programs.err = build(root(t)) })
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return programs.folder
}

func build(root string) (string, error) {
	dir, err := os.MkdirTemp("", "firn-pages-")
	if err != nil {
		return "", err
	}
	shared = append(shared, func() { os.RemoveAll(dir) })
	replaced, err := otherClock(root, dir)
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{{"-o", dir + "/firn", "./cmd/firn"}, {"-o", dir + "/coldtest", "./cmd/coldtest"}, {"-overlay", replaced, "-o", dir + "/then/firn", "./cmd/firn"}} {
		c := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false"}, args...)...)
		c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %v\n%s", args, err, out)
		}
	}
	return dir, nil
}

// otherClock writes which files of the source are to be replaced, by what differs in the clock alone.
func otherClock(root, dir string) (string, error) {
	replace := map[string]string{}
	for _, name := range []string{"backup/backup.go", "repo/repo.go", "cli/console.go", "job/runner.go", "web/web.go"} {
		path := filepath.Join(root, "internal", name)
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if !bytes.Contains(text, []byte("time.Now")) {
			return "", fmt.Errorf("%s: the clock is not there any more", name)
		}
		flat := strings.ReplaceAll(name, "/", "-")
		if err := os.WriteFile(filepath.Join(dir, flat), bytes.ReplaceAll(text, []byte("time.Now"), []byte("shiftedNow")), 0o666); err != nil {
			return "", err
		}
		pkg := filepath.Base(filepath.Dir(name))
		clock := "package " + pkg + "\n\nimport (\n\"os\"\n\"time\"\n)\n\nfunc shiftedNow() time.Time {\n\td, _ := time.ParseDuration(os.Getenv(\"FIRN_PAGES_SHIFT\"))\n\treturn time.Now().Add(d)\n}\n"
		if err := os.WriteFile(filepath.Join(dir, "clock-"+flat), []byte(clock), 0o666); err != nil {
			return "", err
		}
		replace[path] = filepath.Join(dir, flat)
		replace[filepath.Join(filepath.Dir(path), "shiftedclock.go")] = filepath.Join(dir, "clock-"+flat)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "overlay.json")
	return out, os.WriteFile(out, text, 0o666)
}

// world is a machine with things worth keeping, in a folder of its own.
type world struct {
	t      testing.TB
	dir    string
	config string
	env    []string
	bin    string
	shift  time.Duration // what all clocks go wrong by
	ended  []func()
}

// newWorld makes an empty one in a temporary folder. It ends with close.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "firn-pages-")
	if err != nil {
		t.Fatal(err)
	}
	return worldIn(t, dir)
}

// worldIn makes one in a folder that is there, and is removed with it.
func worldIn(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, bin: built(t)}
	w.ended = append(w.ended, func() { os.RemoveAll(dir) })
	w.config = w.write("firn.toml", "")
	w.write("passphrase", "only for trying\n")
	w.env = append(os.Environ(), "HOME="+w.mkdir("home"), "XDG_CONFIG_HOME="+w.mkdir("home/config"), "FIRN_STATE_DIR="+w.mkdir("state"), "FIRN_CACHE_DIR="+w.mkdir("cache"), "FIRN_CONFIG="+w.config, "TZ=UTC", "LC_ALL=C.UTF-8",
		"FIRN_REPO=", "FIRN_PASSPHRASE=", "AWS_ENDPOINT_URL_S3=", "FIRN_PRICE_REGION=aws/us-east-1")
	return w
}

// small makes one that lasts as long as the test.
func small(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	for i := len(w.ended) - 1; i >= 0; i-- {
		w.ended[i]()
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) mkdir(name string) string {
	if err := os.MkdirAll(w.path(name), 0o777); err != nil {
		w.t.Fatal(err)
	}
	return w.path(name)
}

// write makes a file with the folder that it lies in.
func (w *world) write(name, text string) string {
	w.mkdir(filepath.Dir(name))
	if err := os.WriteFile(w.path(name), []byte(text), 0o666); err != nil {
		w.t.Fatal(err)
	}
	return w.path(name)
}

// firn runs a command that has to end well.
func (w *world) firn(args ...string) string {
	w.t.Helper()
	return w.earlier(0, args...)
}

// earlier runs a command as if it were so long ago.
func (w *world) earlier(ago time.Duration, args ...string) string {
	w.t.Helper()
	if w.shift != 0 {
		w.agree(ago)
	}
	began := time.Now()
	out, err := w.try(ago, args...)
	if err != nil {
		w.t.Fatalf("firn %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if ago != w.shift {
		w.age(began, w.shift-ago)
	}
	return out
}

// agree dates what was written to the sources by the other clock.
func (w *world) agree(ago time.Duration) {
	w.t.Helper()
	now := time.Now()
	var paths []string
	err := filepath.WalkDir(w.path("data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(now.Add(-time.Hour)) {
			paths = append(paths, path)
		}
		return err
	})
	for _, path := range paths {
		if err == nil {
			then := now.Add(w.shift - ago - 5*time.Hour).Truncate(time.Minute)
			err = os.Chtimes(path, then, then)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
}

// age dates what repositories in folders have had since a moment by the other clock, too.
func (w *world) age(since time.Time, by time.Duration) {
	w.t.Helper()
	for _, repo := range []string{"nas", "usb"} {
		err := filepath.WalkDir(w.path(repo), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err != nil || info.ModTime().Before(since.Add(-time.Second)) || info.ModTime().After(since.Add(patience)) {
				return err
			}
			return os.Chtimes(path, time.Time{}, info.ModTime().Add(by))
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal(err)
		}
	}
}

// program is firn, or the one with the other clock where that is needed.
func (w *world) program(ago time.Duration) string {
	if w.shift == ago {
		return w.bin + "/firn"
	}
	return w.bin + "/then/firn"
}

func (w *world) try(ago time.Duration, args ...string) (string, error) {
	c := exec.Command(w.program(ago), args...)
	c.Env = append(w.env, "FIRN_PAGES_SHIFT="+(w.shift-ago).String())
	out, err := c.CombinedOutput()
	return string(out), err
}

// process starts a program that runs until the world ends, and returns its output line by line.
func (w *world) process(env []string, program string, args ...string) (*exec.Cmd, *bufio.Scanner) {
	w.t.Helper()
	c := exec.Command(program, args...)
	c.Env = append(w.env, env...)
	out, err := c.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	said := &strings.Builder{}
	c.Stderr = said
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.ended = append(w.ended, func() {
		_ = c.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(patience/4, func() { _ = c.Process.Kill() })
		if err := c.Wait(); err != nil && !kill.Stop() {
			w.t.Logf("%s did not end when it was asked to: %v\n%s", filepath.Base(program), err, said)
		}
	})
	return c, bufio.NewScanner(out)
}

// cold starts an S3 server where time goes fast, and sets the environment that leads to it. It returns the location of a repository there.
func (w *world) cold(speed string) string {
	w.t.Helper()
	_, lines := w.process(nil, w.bin+"/coldtest", "-addr", "127.0.0.1:0", "-speed", speed)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "export "); ok && !strings.HasPrefix(name, "FIRN_") {
			w.env = append(w.env, strings.ReplaceAll(name, `"`, ""))
		}
		if strings.HasPrefix(lines.Text(), "firn cost") {
			go func() {
				for lines.Scan() {
				}
			}()
			return "s3://try/repository"
		}
	}
	w.t.Fatal("coldtest does not say where it is")
	return ""
}

// pages are firn's, being served.
type pages struct {
	w      *world
	origin string
	link   string // usable once
	cookie *http.Cookie
	cmd    *exec.Cmd
}

// ui starts the pages.
func (w *world) ui(env ...string) *pages {
	w.t.Helper()
	return w.uiBy(append(env, "FIRN_PAGES_SHIFT="+w.shift.String()), w.program(0))
}

// uiBy starts them by a command to which the arguments of firn are added.
func (w *world) uiBy(env []string, command ...string) *pages {
	w.t.Helper()
	cmd, lines := w.process(env, command[0], append(command[1:], "ui", "--no-open", "--json")...)
	for lines.Scan() {
		var said struct{ Event, Address, Link string }
		if json.Unmarshal(lines.Bytes(), &said) != nil || said.Event != "ui" {
			continue
		}
		go func() {
			for lines.Scan() {
			}
		}()
		return &pages{w: w, link: said.Link, origin: said.Address, cmd: cmd}
	}
	w.t.Fatal("firn ui says no link")
	return nil
}

// enter follows a link once, and keeps the session for get and for tabs.
func (p *pages) enter() {
	p.w.t.Helper()
	if p.cookie != nil {
		return
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.link, nil)
	if err != nil {
		p.w.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if len(resp.Cookies()) != 1 {
		p.w.t.Fatalf("%s: status %d, and no session", p.link, resp.StatusCode)
	}
	p.cookie = resp.Cookies()[0]
}

// tab opens one that has come in already.
func (p *pages) tab(t *testing.T) *tab {
	t.Helper()
	p.enter()
	b := open(t, p.origin)
	call(b, network.SetCookie, network.SetCookieParams{Name: p.cookie.Name, Value: p.cookie.Value, URL: p.origin, HTTPOnly: new(true), SameSite: network.CookieSameSiteStrict})
	return b
}

// snapshots are the ids of a repository's snapshots of a source, the newest first.
func (w *world) snapshots(repo, source string) (ids []string) {
	w.t.Helper()
	for _, line := range strings.Split(w.firn("snapshots", "--repo", repo, "--json"), "\n") {
		var s struct {
			ID     string
			Source struct{ Name, Path string }
		}
		if json.Unmarshal([]byte(line), &s) == nil && s.ID != "" && (s.Source.Name == source || filepath.Base(s.Source.Path) == source) {
			ids = append([]string{s.ID}, ids...)
		}
	}
	if len(ids) == 0 {
		w.t.Fatalf("no snapshots of %s in %s", source, repo)
	}
	return ids
}

// end ends them, and waits for that.
func (p *pages) end() {
	p.w.t.Helper()
	_ = p.cmd.Process.Signal(os.Interrupt)
	if err := p.cmd.Wait(); err != nil {
		p.w.t.Errorf("the pages: %v", err)
	}
}

// get asks for a page without a browser, with the session of the pages.
func (p *pages) get(address string) (int, []byte, time.Duration) {
	p.w.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.origin+address, nil)
	if err != nil {
		p.w.t.Fatal(err)
	}
	if p.cookie != nil {
		r.AddCookie(p.cookie)
	}
	began := time.Now()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	first := time.Since(began)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return resp.StatusCode, body, first
}

// picture draws something that looks like a photograph of hills, the same for the same number.
func picture(n, width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(uint64(n), 7))
	a, b, c := r.Float64()*6, r.Float64()*6, r.Float64()
	for x := range width {
		far := 0.45 + 0.12*math.Sin(a+float64(x)/float64(width)*5) + 0.04*math.Sin(b+float64(x)/float64(width)*17)
		near := 0.7 + 0.1*math.Sin(b+float64(x)/float64(width)*7)
		for y := range height {
			h := float64(y) / float64(height)
			k := color.RGBA{uint8(120 + 100*h), uint8(160 + 60*h), uint8(235 - 40*c*h), 255}
			if h > far {
				k = color.RGBA{uint8(90 + 40*c), uint8(110 + 30*h), 140, 255}
			}
			if h > near {
				k = color.RGBA{uint8(40 + 60*c), uint8(90 + 50*h), 60, 255}
			}
			m.SetRGBA(x, y, k)
		}
	}
	return m
}

func jpegOf(n, width, height int) string {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(n, width, height), &jpeg.Options{Quality: 80}); err != nil {
		panic(err) // into memory
	}
	return b.String()
}

func pngOf(n, width, height int) string {
	var b bytes.Buffer
	if err := png.Encode(&b, picture(n, width, height)); err != nil {
		panic(err) // into memory
	}
	return b.String()
}

// noise is content that shrinks no further.
func noise(n, size int) string {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = r.Read(b)
	return string(b)
}

// Names that people do not choose and programs do.
const (
	htmlName = "<img src=x onerror=alert(1)>.txt"
	bidiName = "invoice \u202egnp.exe"
	bellName = "ring\a\x1b[31m.txt"
	byteName = "caf\xe9.txt"
	longName = "a-name-without-any-blank-that-goes-on-for-much-longer-than-a-telephone-is-wide-and-has-to-be-broken-somewhere-or-else-the-page-scrolls-sideways.txt"
)

// few is how many small files lie in the large folder.
const few = 12_000

// furnish puts files into the folders that the configuration names.
func (w *world) furnish() {
	w.t.Helper()
	for i := range 6 {
		w.write(fmt.Sprintf("data/photos/2026/summer/hills-%02d.jpg", i+1), jpegOf(i, 640, 420))
	}
	w.write("data/photos/2025/winter/lake.png", pngOf(40, 320, 200))
	w.write("data/photos/album.txt", "Hills in summer, the lake in winter.\n")
	w.write("data/documents/letters/bank.txt", "To the bank:\n\nplease find enclosed what you asked for.\n")
	w.write("data/documents/letters/school.txt", "Dear Ms Weber,\n\nour daughter cannot come on Monday.\n")
	w.write("data/documents/notes.md", "# Notes\n\n- buy bread\n- <script>alert(1)</script>\n")
	w.write("data/documents/taxes/2025.csv", "what,amount\nbooks,120.50\ntrain,89.00\n")
	for _, name := range []string{htmlName, bidiName, bellName, byteName, longName} {
		w.write("data/projects/"+name, "what is in "+name+"\n")
	}
	w.write("data/projects/<b>folder</b>/inside.txt", "inside\n")
	for i := range few {
		w.write(fmt.Sprintf("data/mail/box/%06d.eml", i), fmt.Sprintf("Subject: message %d\n\nHello\n", i))
	}
	for i := range 3 {
		w.write(fmt.Sprintf("data/films/film-%d.mkv", i+1), noise(i, 3<<20))
	}
}

const configuration = `repository = "nas"
passphrase_file = "DIR/passphrase"
host = "home"
keep = { daily = 14, weekly = 8, monthly = 12 }
detect = "size,mtime"

[repositories.nas]
location = "DIR/nas"
check = "weekly Sun 05:00"
drill = { schedule = "monthly last 06:00", files = 5 }

[repositories.usb]
location = "DIR/usb"

[repositories.glacier]
location = "COLD"
price_region = "aws/us-east-1"
drill = { schedule = "yearly 01-15 01:00", files = 5, max_cost = "1.00" }

[sources.documents]
source = "documents"
path = "DIR/data/documents"
schedule = "daily 02:30"

[sources.photos]
source = "photos"
path = "DIR/data/photos"
schedule = "daily 03:00"

[sources.mail]
source = "mail"
path = "DIR/data/mail"
schedule = "daily 03:30"

[sources.projects]
path = "DIR/data/projects"
repository = "usb"
cycle = "hanoi discs=5"
keep = "all"

[sources.films]
source = "films"
path = "DIR/data/films"
repository = "glacier"
class = "DEEP_ARCHIVE"
schedule = "weekly Sat 01:00"

[sources.shop]
path = "DIR/data/unplugged"
repository = "usb"
schedule = "daily 04:00"

[sources.archive]
path = "DIR/data/documents/taxes"
repository = "usb"
schedule = "daily 05:00"
`

// past makes repositories, and snapshots of more than a year in them.
func (w *world) past() {
	w.t.Helper()
	const day = 24 * time.Hour
	cold := w.cold("8640") // ten seconds a day
	w.furnish()
	text := strings.NewReplacer("DIR", w.dir, "COLD", cold).Replace(configuration)
	w.write("firn.toml", text)
	for _, name := range []string{"nas", "usb"} {
		w.earlier(420*day, "init", w.path(name), "--kit-saved", "--passphrase-file", w.path("passphrase"))
	}
	w.firn("init", cold, "--class", "DEEP_ARCHIVE", "--kit-saved", "--passphrase-file", w.path("passphrase"))
	ages := []int{400, 370, 340, 310, 280, 250, 220, 190, 160, 130, 100, 75, 61, 54, 47, 40, 33, 26, 19, 12, 9, 7, 6, 5, 4, 3, 2}
	for i, age := range ages {
		w.write("data/documents/notes.md", strings.Repeat(fmt.Sprintf("# Notes of day %d\n\n", i), i+1))
		w.write(fmt.Sprintf("data/documents/diary/day-%03d.txt", i), fmt.Sprintf("Day %d was a good day.\n", i)+noise(i, 40<<10))
		w.earlier(time.Duration(age)*day, "run", "--force", "documents")
		if i%4 == 0 {
			w.write(fmt.Sprintf("data/photos/2026/spring/trees-%02d.jpg", i), jpegOf(100+i, 480, 320))
			w.earlier(time.Duration(age)*day-time.Hour, "run", "--force", "photos")
		}
		if i > 20 {
			w.write("data/projects/turn.txt", fmt.Sprint(i))
			w.earlier(time.Duration(age)*day-2*time.Hour, "run", "--force", "projects")
		}
	}
	w.earlier(30*day, "run", "--force", "archive")
	w.earlier(20*day, "run", "drill@nas", "--force")
	_, _ = w.try(day, "run", "--force", "shop") // the folder is not there: it fails
	w.earlier(day, "run", "--force", "photos", "mail", "projects")
	w.write("data/documents/letters/insurance.txt", "Dear Sirs,\n\nthe roof is whole again.\n")
	w.write("data/photos/2026/autumn/leaves.jpg", jpegOf(200, 800, 500))
	w.firn("run", "--force", "documents", "photos", "mail", "films", "check@nas")
}

var once struct {
	sync.Once
	w *world
	p *pages
}

// house is the world that all tests share which leave it as it is.
func house(t *testing.T) (*world, *pages) {
	t.Helper()
	browserOf(t)
	once.Do(func() {
		w := newWorld(t)
		shared = append(shared, w.close)
		w.past()
		once.w, once.p = w, w.ui()
	})
	if once.p == nil {
		t.Fatal("there is no world: an earlier test could not make it")
	}
	once.w.t = t
	return once.w, once.p
}
