package doctor

import (
	"slices"
	"strings"
)

// dataArea is where what may be cold lies.
const dataArea = "data/"

const whyHot = "everything but data/ has to be readable at once: every backup, listing and plan reads it, and thawing it takes hours"

// areas are the objects and folders of a repository (FORMAT §2); a test holds them to what is really stored.
func areas() []string {
	return []string{"RECOVER.md", "recover.py", "firn.json", "keys/", "hosts/", "snapshots/", "packset/", "index/", "meta/", "state/", "prune/", dataArea}
}

// within returns the areas of which a rule about prefix, relative to the root of the store, reaches objects.
func within(prefix string) (hot []string, data bool) {
	for _, area := range areas() {
		if !strings.HasPrefix(area, prefix) && !strings.HasPrefix(prefix, area) {
			continue
		}
		if area == dataArea {
			data = true
			continue
		}
		hot = append(hot, area)
	}
	return hot, data
}

// isHot reports whether an object has to be readable at once.
func isHot(name string) bool {
	return slices.ContainsFunc(areas(), func(area string) bool {
		return area != dataArea && (name == area || strings.HasSuffix(area, "/") && strings.HasPrefix(name, area))
	})
}

// isCold reports whether objects of a class have to be thawed before they can be read. A class that nobody knows is taken for one: a false alarm about
// a rule costs a look, a missed one costs days.
func isCold(class string) bool {
	switch strings.ToUpper(class) {
	case "", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "EXPRESS_ONEZONE", // Amazon S3
		"HIGH_PERF", "NEARLINE", "COLDLINE": // OVH, Google
		return false
	}
	return true
}

// sameClass compares classes; the default one has no name, or its own.
func sameClass(a, b string) bool {
	name := func(c string) string {
		if c == "" {
			return "STANDARD"
		}
		return strings.ToUpper(c)
	}
	return name(a) == name(b)
}
