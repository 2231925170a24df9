package pages

import "testing"

// TestManyTabs opens more tabs than a browser has connections for: those that nobody looks at follow nothing, and go on when somebody does.
func TestManyTabs(t *testing.T) {
	_, p := house(t)
	look := func(b *tab, hidden string) {
		b.eval(`Object.defineProperty(document, "hidden", {configurable: true, get: () => `+hidden+`}); document.dispatchEvent(new Event("visibilitychange"))`, nil)
	}
	first := p.tab(t)
	for b, i := first, 0; i < 8; b, i = first.another(t), i+1 { // browsers have six
		b.visit("/")
		look(b, "true")
		b.clean()
	}
	last := first.another(t)
	last.visit("/run")
	last.usable()
	last.clean()
	look(first, "false")
	first.until(`performance.getEntriesByType("resource").filter((e) => e.name === location.href && e.initiatorType === "fetch").length > 0`) // it was taken anew
	first.clean()
}
