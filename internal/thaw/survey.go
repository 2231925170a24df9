package thaw

import (
	"context"
	"time"

	"firn/internal/price"
	"firn/internal/store"
)

// LookOptions say how to look; zero values stand for the defaults.
type LookOptions struct {
	Region  *price.Region // knows which classes are cold, and whether listing or asking one by one is cheaper; nil: the names and prices of Amazon S3
	Total   int64         // how many objects the folders concerned hold, as the index has it; 0: unknown
	Workers int           // requests at once; default 16
	Clock   Clock         // for the pauses before what failed is tried again; default: WallClock
}

// Requests counts what was asked of a store. Listings are counted by the thousand objects seen.
type Requests struct {
	List int64 `json:"list"`
	Head int64 `json:"head"`
}

// Survey is what a store says about wanted objects.
type Survey struct {
	Needs    []Need // as given to Look; not to be changed
	Groups   []Group
	Missing  Tally // objects that are gone; the others are in Groups
	Requests Requests
	Taken    time.Time // when the looking began, by the Clock

	facts   []fact
	order   []int32 // indexes of Needs by name
	classes []string
	silent  bool // listings do not tell what is thawed
}

// Group is the objects of a survey that are alike.
type Group struct {
	Class string // as the store says
	Cold  bool   // has to be thawed before it can be read
	Copy  store.CopyState
	Tally
}

// Fact is what a survey knows of one object.
type Fact struct {
	Missing bool
	Class   string
	Cold    bool
	Copy    store.Copy
}

// At returns what is known of Needs[i].
func (s *Survey) At(i int) Fact {
	f := &s.facts[i]
	if f.state == unseen {
		return Fact{Missing: true}
	}
	return Fact{Class: s.classes[f.class], Cold: f.cold, Copy: f.copy()}
}

// Chilled lists what lies in cold classes below prefixes where all should be hot, as needs of all their bytes: rules of a bucket may have moved it there.
func Chilled(ctx context.Context, st store.Store, prefixes []string, region *price.Region) ([]Need, error) {
	var needs []Need
	if _, ok := store.As[store.Thawer](st); !ok {
		return nil, nil
	}
	for _, prefix := range prefixes {
		err := st.List(ctx, prefix, "", func(i store.Info) error {
			if Cold(region, i.Class) {
				needs = append(needs, Need{Object: i.Name, Class: i.Class, Size: i.Size, Wanted: i.Size, Gets: 1})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return needs, nil
}

// fact is 16 bytes of what is known of an object.
type fact struct {
	expires int64 // Unix seconds; 0: unknown
	class   uint16
	state   sight
	cold    bool
}

type sight uint8

const (
	unseen sight = iota // or gone
	noCopy
	thawing
	thawed
)

func (f *fact) copy() store.Copy {
	c := store.Copy{State: store.CopyState(f.state - noCopy)}
	if f.expires != 0 {
		c.Expires = time.Unix(f.expires, 0).UTC()
	}
	return c
}
