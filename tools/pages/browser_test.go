package pages

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long anything may take before a test gives up on it. Nothing is expected to take nearly so long.
const patience = time.Minute

// chromium is the browser that all tests share, each with a profile of its own in it.
var chromium struct {
	sync.Once
	ctx    context.Context
	why    string // nobody can use it
	cancel []func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	closeShared()
	for _, f := range slices.Backward(chromium.cancel) {
		f()
	}
	os.Exit(code)
}

// browserOf starts Chromium, or skips the test where there is none.
func browserOf(t *testing.T) context.Context {
	t.Helper()
	chromium.Do(startChromium)
	if chromium.why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(chromium.why)
		}
		t.Skip(chromium.why)
	}
	return chromium.ctx
}

func startChromium() {
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		chromium.why = "there is no Chromium here"
		return
	}
	profile, err := os.MkdirTemp("", "firn-pages-")
	if err != nil {
		chromium.why = err.Error()
		return
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(patience),
		// No name leads anywhere, so whatever the browser or a page wants of the world outside fails.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("lang", "en-US"),
		chromedp.Env("LANGUAGE=en_US", "TZ=UTC"))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	ctx, end := chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	chromium.cancel = append(chromium.cancel, func() { os.RemoveAll(profile) }, stop, end)
	if err := chromedp.Do(ctx); err != nil {
		chromium.why = fmt.Sprintf("Chromium does not start: %v", err)
		return
	}
	chromium.ctx = ctx
}

// size is that of a window.
type size struct {
	name          string
	width, height int64
	phone         bool
}

var (
	desktop = size{"desktop", 1280, 800, false}
	phone   = size{"phone", 360, 740, true}
)

// tab is one of the browser's, and all that goes wrong in it.
type tab struct {
	t      *testing.T
	ctx    context.Context
	origin string // nothing else may be asked
	size   size
	scheme string // light or dark

	mu       sync.Mutex
	problems []string
	allowed  []string          // parts of problems that are none
	urls     map[string]string // of requests that are under way, by their ids
	got      []string          // what came: status and address
}

// open opens a tab with a profile of its own, which may ask origin alone.
func open(t *testing.T, origin string) *tab {
	t.Helper()
	return newTab(t, origin, browserOf(t), chromedp.WithNewBrowserContext())
}

// another opens a second tab with the profile of the first one.
func (b *tab) another(t *testing.T) *tab {
	t.Helper()
	return newTab(t, b.origin, b.ctx)
}

func newTab(t *testing.T, origin string, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, origin: strings.TrimSuffix(origin, "/"), urls: map[string]string{}}
	b.must(chromedp.Listen(ctx, b.event))
	call(b, log.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	call(b, audits.Enable, cdp.Empty{})
	b.resize(desktop)
	b.paint("light")
	return b
}

func (b *tab) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// call sends a command of the protocol and waits for what comes of it.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.t.Fatalf("%s: %v", cmd.Method, err)
	}
	return r
}

// event sees all that the browser tells of the tab.
func (b *tab) event(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning || ev.Type == runtime.ConsoleAPICalledTypeAssert {
			var said []string
			for _, a := range ev.Args {
				said = append(said, fmt.Sprint(string(a.Value), a.Description))
			}
			b.problem("console: %s: %s", ev.Type, strings.Join(said, " "))
		}
	case *runtime.EventExceptionThrown:
		text := ev.ExceptionDetails.Text
		if x := ev.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		b.problem("exception: %s", text)
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError || ev.Entry.Level == log.EntryLevelWarning {
			b.problem("log: %s: %s (%s)", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
		}
	case *audits.EventIssueAdded:
		details, _ := json.Marshal(ev.Issue.Details)
		b.problem("issue: %s: %s", ev.Issue.Code, details)
	case *network.EventRequestWillBeSent:
		b.urls[string(ev.RequestID)] = ev.Request.URL
		if ev.Request.URL != b.origin && !strings.HasPrefix(ev.Request.URL, b.origin+"/") && !strings.HasPrefix(ev.Request.URL, "data:") {
			b.problem("asks another place: %s", ev.Request.URL)
		}
	case *network.EventResponseReceived:
		b.got = append(b.got, fmt.Sprint(ev.Response.Status, " ", strings.TrimPrefix(ev.Response.URL, b.origin)))
		if ev.Response.Status >= 400 {
			b.problem("status %d: %s", ev.Response.Status, ev.Response.URL)
		}
	case *network.EventLoadingFailed:
		if !ev.Canceled { // what is cancelled belongs to a page that was left
			b.problem("not loaded: %s: %s %s", ev.ErrorText, b.urls[string(ev.RequestID)], ev.BlockedReason)
		}
	}
}

// problem notes one. mu is held.
func (b *tab) problem(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

// allow makes problems that hold text none, until the next call; such are the answers that a test wants to be refused.
func (b *tab) allow(text ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = text
}

// clean fails the test for each problem since the last call.
func (b *tab) clean() {
	b.t.Helper()
	b.eval("1", nil) // what was told before the answer has come by then
	b.mu.Lock()
	defer b.mu.Unlock()
	where := ""
	for _, p := range b.problems {
		if !slices.ContainsFunc(b.allowed, func(text string) bool { return strings.Contains(p, text) }) {
			where += "\n\t" + p
		}
	}
	b.problems = nil
	if where != "" {
		b.t.Errorf("%s: problems:%s", b.size.name, where)
	}
}

// resize makes the tab as large as a window or a phone.
func (b *tab) resize(s size) {
	b.t.Helper()
	b.size = s
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: 1, Mobile: s.phone})
}

// paint asks for the light or the dark colours.
func (b *tab) paint(scheme string) {
	b.t.Helper()
	b.scheme = scheme
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// scripts switches JavaScript of pages on and off.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// visit goes to an address of the origin and waits for the page.
func (b *tab) visit(address string) {
	b.t.Helper()
	if u, err := url.Parse(address); err != nil || !u.IsAbs() {
		address = b.origin + address
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		b.t.Fatalf("%s: %v", address, err)
	}
}

// eval evaluates an expression in the page, into out where that is not nil.
func (b *tab) eval(expression string, out any) {
	b.t.Helper()
	if err := b.tryEval(expression, out); err != nil {
		b.t.Fatalf("%.300s: %v", expression, err)
	}
}

func (b *tab) tryEval(expression string, out any) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ReturnByValue: new(true)})
	if err != nil {
		return err
	}
	if x := r.ExceptionDetails; x != nil {
		if x.Exception != nil {
			return fmt.Errorf("%s %s", x.Text, x.Exception.Description)
		}
		return fmt.Errorf("%s", x.Text)
	}
	if out == nil || len(r.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(r.Result.Value, out)
}

// until waits for an expression to become true. While a page is left for another one nothing is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	if !b.comesTrue(expression) {
		b.t.Fatalf("%s: never true: %s\nthe page says: %s", b.address(), expression, b.text())
	}
}

func (b *tab) comesTrue(expression string) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		var ok bool
		if err := b.tryEval("!!("+expression+")", &ok); err == nil && ok {
			return true
		}
	}
	return false
}

// says waits for the page to say something.
func (b *tab) says(text string) {
	b.t.Helper()
	b.until("document.body && document.body.innerText.includes(" + quote(text) + ")")
}

// text is what the page says.
func (b *tab) text() (text string) {
	_ = b.tryEval("document.body ? document.body.innerText : ''", &text)
	return text
}

// address is where the tab is, without its origin.
func (b *tab) address() (address string) {
	_ = b.tryEval("location.href", &address)
	return strings.TrimPrefix(address, b.origin)
}

func quote(text string) string {
	q, _ := json.Marshal(text)
	return string(q)
}

// find is an expression for the first visible element that a selector finds and that has the text, or the accessible name, where one is given.
func find(selector, text string) string {
	return "[...document.querySelectorAll(" + quote(selector) + ")].find(e => e.checkVisibility() && [e.innerText, e.value, e.getAttribute('aria-label')].some(s => (s || '').trim().replace(/\\s+/g, ' ').includes(" + quote(text) + ")))"
}

// has tells whether there is such an element.
func (b *tab) has(selector, text string) (ok bool) {
	b.t.Helper()
	b.eval("!!"+find(selector, text), &ok)
	return ok
}

// click presses the mouse where an element is, which has to be what is hit there.
func (b *tab) click(selector, text string) {
	b.t.Helper()
	b.until(find(selector, text))
	var at struct {
		X, Y float64
		Over string
	}
	b.eval(`(() => {
		const e = `+find(selector, text)+`;
		e.scrollIntoView({block: 'center', behavior: 'instant'});
		const r = e.getClientRects()[0], x = r.left + r.width / 2, y = r.top + r.height / 2, hit = document.elementFromPoint(x, y);
		const ok = hit && (e.contains(hit) || hit.contains(e) || [...(e.labels || [])].some(l => l.contains(hit)));
		return {X: x, Y: y, Over: ok ? '' : hit ? hit.outerHTML.slice(0, 200) : 'nothing'};
	})()`, &at)
	if at.Over != "" {
		b.t.Fatalf("%s: %q %q cannot be clicked, over it lies %s", b.address(), selector, text, at.Over)
	}
	for _, kind := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMouseMoved, input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		p := input.DispatchMouseEventParams{Type: kind, X: at.X, Y: at.Y}
		if kind != input.DispatchMouseEventTypeMouseMoved {
			p.Button, p.ClickCount = input.MouseButtonLeft, 1
		}
		call(b, input.DispatchMouseEvent, p)
	}
}

// follow clicks and waits for the page that this leads to.
func (b *tab) follow(selector, text string) {
	b.t.Helper()
	b.leave(func() { b.click(selector, text) })
}

// leave does something that brings another page, and waits for that.
func (b *tab) leave(act func()) {
	b.t.Helper()
	b.eval("window.isOld = true", nil)
	act()
	b.until("!window.isOld && document.readyState === 'complete'")
}

// fill writes into a field, in the place of what is there.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.until(find(selector, ""))
	b.eval("(() => { const e = "+find(selector, "")+"; e.scrollIntoView({block: 'center', behavior: 'instant'}); e.focus(); e.select && e.select(); })()", nil)
	if text == "" {
		b.press("Delete", 46, 0)
		return
	}
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// choose picks an entry of a select by its value.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.until(find(selector, ""))
	b.eval("(() => { const e = "+find(selector, "")+"; e.value = "+quote(value)+"; e.dispatchEvent(new Event('change', {bubbles: true})); })()", nil)
}

// press presses a key, as Tab or Enter.
func (b *tab) press(key string, code, modifiers int64) {
	b.t.Helper()
	p := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeRawKeyDown, Key: key, Code: key, WindowsVirtualKeyCode: code, Modifiers: modifiers}
	switch key {
	case "Enter":
		p.Type, p.Text = input.DispatchKeyEventTypeKeyDown, "\r"
	case " ":
		p.Type, p.Text, p.Code = input.DispatchKeyEventTypeKeyDown, " ", "Space"
	}
	call(b, input.DispatchKeyEvent, p)
	p.Type, p.Text = input.DispatchKeyEventTypeKeyUp, ""
	call(b, input.DispatchKeyEvent, p)
}

// shot is the whole page as a PNG, and no more than the first highest points of it.
func (b *tab) shot(highest int64) []byte {
	b.t.Helper()
	var tall float64
	b.eval("document.documentElement.scrollHeight", &tall)
	height := min(max(int64(tall), b.size.height), highest)
	r := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: new(true), Clip: &page.Viewport{Width: float64(b.size.width), Height: float64(height), Scale: 1}})
	return []byte(r.Data)
}

// keep writes a picture of the page into build/pages.
func (b *tab) keep(name string) {
	b.t.Helper()
	folder := filepath.Join(root(b.t), "build", "pages")
	b.must(os.MkdirAll(folder, 0o777))
	b.must(os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%s-%s.png", name, b.size.name, b.scheme)), b.shot(4000), 0o666))
}

// root is the folder of the project.
func root(t *testing.T) string {
	t.Helper()
	r, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// encode is a path as it stands in addresses.
func encode(path string) string { return base64.RawURLEncoding.EncodeToString([]byte(path)) }
