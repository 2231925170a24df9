package pages

import (
	"fmt"
	"strings"
	"testing"
)

// stop is where the focus is after a press of Tab.
type stop struct {
	ID      int    // of the element, in the order in which this test met them; 0: nothing has the focus
	What    string // for people
	Seen    bool   // something shows that it has the focus
	InView  bool
	Control string // its name
}

// walk goes through a page with Tab alone. It returns where it came by, and what is wrong: what cannot be reached so, what has the focus unseen, and where there is no way on.
func (b *tab) walk(most int) (way []stop, faults []string) {
	b.t.Helper()
	say := func(what, where string) { faults = append(faults, what+": "+where) }
	const can = `a[href], button:not(:disabled), input:not([type=hidden]):not(:disabled), select:not(:disabled), textarea:not(:disabled), summary, [tabindex="0"]`
	b.eval(`(() => {
		document.activeElement && document.activeElement.blur();
		scrollTo(0, 0);
		const look = (e) => { const s = getComputedStyle(e); return [s.outlineStyle === 'none' ? '' : s.outlineWidth + s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor, s.textDecorationLine].join('|'); };
		window.looks = new Map();
		window.met = new Map();
		for (const e of document.querySelectorAll('`+can+`')) looks.set(e, look(e));
		window.lookOf = look;
	})()`, nil)
	for range most {
		b.press("Tab", 9, 0)
		var s stop
		b.eval(`(() => {
			const e = document.activeElement;
			if (!e || e === document.body || e === document.documentElement) return {ID: 0};
			if (!met.has(e)) met.set(e, met.size + 1);
			const r = e.getBoundingClientRect(), s = getComputedStyle(e);
			const ring = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1;
			const label = e.labels && e.labels[0] ? e.labels[0].innerText : '';
			return {ID: met.get(e), What: e.outerHTML.slice(0, 160), Seen: ring || looks.has(e) && looks.get(e) !== lookOf(e),
				InView: r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth && r.width > 0, Control: (e.innerText || e.value || e.getAttribute('aria-label') || label || '').trim()};
		})()`, &s)
		if s.ID == 0 || len(way) > 0 && s.ID == way[0].ID {
			return way, append(faults, b.unreached(can)...)
		}
		if len(way) > 0 && s.ID == way[len(way)-1].ID && strings.Contains(s.What, `type="date"`) {
			continue // a date has several parts
		}
		if !s.Seen {
			say("nothing shows that it has the focus", s.What)
		}
		if !s.InView {
			say("has the focus out of sight", s.What)
		}
		for _, earlier := range way {
			if earlier.ID == s.ID {
				say("the focus goes round in a part of the page", s.What)
				return way, faults
			}
		}
		way = append(way, s)
	}
	return way, faults
}

// unreached are the controls that the walk did not come by.
func (b *tab) unreached(can string) (missed []string) {
	b.t.Helper()
	b.eval(`[...document.querySelectorAll('`+can+`')].filter((e) => e.checkVisibility({visibilityProperty: true}) && e.tabIndex >= 0 && !met.has(e) && !(e.type === 'radio' && [...met.keys()].some((m) => m.type === 'radio' && m.name === e.name))).map((e) => e.outerHTML.slice(0, 160))`, &missed)
	for i, m := range missed {
		missed[i] = "Tab does not come by: " + m
	}
	return missed
}

// goTo presses Tab until a control of this name has the focus.
func (b *tab) goTo(name string) {
	b.t.Helper()
	var had []string
	for range 400 {
		b.press("Tab", 9, 0)
		var now string
		b.eval(`(() => { const e = document.activeElement; const l = e && e.labels && e.labels[0] ? e.labels[0].innerText : ''; return e && e !== document.body ? [e.innerText, e.value, e.getAttribute('aria-label'), l].map((s) => (s || '').trim().replace(/\s+/g, ' ')).join(' | ') : ''; })()`, &now)
		if strings.Contains(now, name) {
			return
		}
		had = append(had, fmt.Sprintf("%.40q", now))
	}
	b.t.Fatalf("%s: Tab does not lead to %q, but to %s", b.address(), name, strings.Join(had[:min(len(had), 60)], ", "))
}

// TestWalk plants faults that only a keyboard meets.
func TestWalk(t *testing.T) {
	for _, c := range []struct{ want, body string }{
		{"", `<button>One</button><label>Two <input></label>`},
		{"nothing shows", `<style>button:focus{outline:none}</style><button>One</button>`},
		{"out of sight", `<button style="position:fixed;top:-100px">One</button>`},
		{"does not come by", `<button id="b">One</button><script src="/keep.js"></script><button>Two</button>`},
	} {
		b := open(t, serve(t, map[string]string{"/": fmt.Sprintf(sound, c.body), "/keep.js": "document.getElementById('b').addEventListener('keydown', (e) => e.preventDefault())"}))
		b.visit("/")
		way, faults := b.walk(20)
		got := strings.Join(faults, "\n")
		if len(way) == 0 || c.want == "" && got != "" || !strings.Contains(got, c.want) {
			if c.want == "does not come by" && strings.Contains(got, "goes round") {
				continue // it says so as well
			}
			t.Errorf("%s: want %q, got %q after %d stops", c.body, c.want, got, len(way))
		}
	}
}
