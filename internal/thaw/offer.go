package thaw

import (
	"time"

	"firn/internal/price"
	"firn/internal/store"
)

// OfferOptions bound what is offered; zero values stand for the defaults.
type OfferOptions struct {
	Days     int      // that copies are kept; 0: chosen
	Hold     bool     // objects are made readable and not fetched
	Routes   []string // nil: all that the region knows
	Out      int64    // bytes that left the store this month before
	Patience float64  // how many times the shortest time to the last byte it may take where that makes it cheaper; default 1.25
}

// Offer is one way to have everything, with its price and time.
type Offer struct {
	Tier     store.Tier
	Route    string
	Days     int        // that copies are kept
	Bill     price.Bill // at most: copies are billed to the end of their last day
	Total    price.Money
	Currency string
	Unknown  []string      // classes and routes without a price, which are not in Total
	First    time.Duration // until the first byte can be had
	Last     time.Duration // until the last byte is here, or, of Hold, can be had
	Window   int64         // most bytes thawed at once
	Windows  int           // how many times that is; 1: all at once
	Classes  []ClassOffer  // cold classes

	Thaw    Tally // to be thawed and paid for
	Thawing Tally // on its way already
	Ready   Tally // to be read now, thawed or in a hot class
	Missing Tally // gone
	Extend  int64 // thawed objects that are to be kept for longer
}

// ClassOffer is how the objects of one class are thawed.
type ClassOffer struct {
	Class string
	Tier  store.Tier // differs from the Offer's where the class lacks that
	Tally            // to be thawed
}

// Offers returns a way for each tier that a class concerned has and for each route, cheapest first, of those that cost the same fastest first. Where
// nothing has to be thawed there is one for each route.
func Offers(region *price.Region, s *Survey, link Link, o OfferOptions) []Offer {
	return offers(region, s, link, o)
}
