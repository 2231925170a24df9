package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Ability says whether a store can do something, as far as is known.
type Ability string

// The answers.
const (
	Unknown Ability = ""
	Yes     Ability = "yes"
	No      Ability = "no"
	Denied  Ability = "denied" // the credentials lack the right, so nobody knows
)

// Abilities is what a probe found out about a store and about the rights that its credentials have. Callers record it, as JSON, and give it to the store when
// they open it again.
type Abilities struct {
	CreateOnly  bool     `json:"create_only"`         // a second Put of a name is refused
	VerifiesSum bool     `json:"verifies_sum"`        // a Put whose content does not have the given sum is refused
	ReportsSum  bool     `json:"reports_sum"`         // Stat tells the SHA-256
	Lists       bool     `json:"lists"`               // List shows what was just put
	Missing     []string `json:"missing,omitempty"`   // rights that were refused: put, get, list, delete; what depends on them is reported false
	LeftOver    []string `json:"left_over,omitempty"` // probe objects that could not be deleted

	Class string `json:"class,omitempty"` // class that the store reports for a probe object, whatever was asked for
	Cold  bool   `json:"cold,omitempty"`  // that class has to be thawed

	Refuses  []string `json:"refuses,omitempty"`   // what the store refuses to be asked for: Conditions, Sums. A store that is Adaptive goes without
	Thaws    Ability  `json:"thaws,omitempty"`     // it is a Thawer, and the server knows the request
	Tiers    Ability  `json:"tiers,omitempty"`     // No: NoTier only
	Status   Ability  `json:"status,omitempty"`    // listings tell what is thawed
	Rules    Ability  `json:"rules,omitempty"`     // the rules can be read
	MaxParts int      `json:"max_parts,omitempty"` // of an upload; 0: unknown
}

// What a store may refuse to be asked for.
const (
	Conditions = "conditions" // that a Put creates only
	Sums       = "sums"       // that content is verified by its SHA-256
)

// Refused reports whether what was asked for in vain is in a.Refuses.
func (a *Abilities) Refused(what string) bool { return a != nil && slices.Contains(a.Refuses, what) }

// String tells the abilities in a line, for logs.
func (a Abilities) String() string {
	var out []string
	add := func(is bool, yes, no string) {
		if !is {
			yes = no
		}
		if yes != "" {
			out = append(out, yes)
		}
	}
	add(a.CreateOnly, "creates only", "overwrites")
	add(a.VerifiesSum, "verifies sums", "does not verify sums")
	add(a.ReportsSum, "reports sums", "")
	add(a.Class != "", "class "+a.Class, "")
	add(a.Cold, "cold", "")
	for _, x := range []struct {
		name string
		is   Ability
	}{{"thaws", a.Thaws}, {"tiers", a.Tiers}, {"status in listings", a.Status}, {"rules", a.Rules}} {
		add(x.is != Unknown, x.name+": "+string(x.is), "")
	}
	add(a.MaxParts > 0, fmt.Sprintf("%d parts", a.MaxParts), "")
	add(len(a.Refuses) > 0, "refuses "+strings.Join(a.Refuses, ", "), "")
	add(len(a.Missing) > 0, "no right to "+strings.Join(a.Missing, ", "), "")
	return strings.Join(out, ", ")
}

// Adaptive is a store that can do without some of what its server lacks.
type Adaptive interface {
	// Adapt tells the store what is known about its server. Of Refuses, Tiers, Status and MaxParts the store makes use.
	Adapt(Abilities)
}

// PartCounter is a store that can find out into how many parts an object may be cut.
type PartCounter interface {
	// CountParts asks by an upload of name that it gives up again; it costs a handful of requests.
	CountParts(ctx context.Context, name string) (int, error)
}
