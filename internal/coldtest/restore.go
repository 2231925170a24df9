package coldtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// span is how long thawing takes: the documented range, of which the seed chooses.
type span struct{ least, most time.Duration }

// Amazon S3 User Guide, "Archive retrieval options". Of "within 12 hours" and "within 48 hours" the last quarter is used.
var spans = map[string]map[string]span{
	glacier: {expedited: {time.Minute, 5 * time.Minute}, tierNormal: {3 * time.Hour, 5 * time.Hour}, bulk: {5 * time.Hour, 12 * time.Hour}},
	deep:    {tierNormal: {9 * time.Hour, 12 * time.Hour}, bulk: {36 * time.Hour, 48 * time.Hour}},
}

// speed orders the tiers.
var speed = map[string]int{bulk: 1, tierNormal: 2, expedited: 3}

// restoreRequest is the body of RestoreObject.
type restoreRequest struct {
	Days                 *int
	Tier                 string
	GlacierJobParameters *struct{ Tier string }
	Type                 string
	Description          string
	SelectParameters     *struct{}
	OutputLocation       *struct{}
}

// tierOf reads the tier that is asked for, and whether any is.
func (q *request) tierOf(r *restoreRequest) (tier string, err error) {
	if r.Type != "" || r.SelectParameters != nil || r.OutputLocation != nil {
		return "", notImplemented("RestoreRequest: Type, SelectParameters, OutputLocation")
	}
	if r.GlacierJobParameters != nil {
		tier = r.GlacierJobParameters.Tier
		if tier == "" {
			return "", malformedXML()
		}
	} else if r.Tier != "" { // of intelligent tiering
		tier = r.Tier
	}
	switch p := q.s.o.Provider.Tiers; {
	case tier == "":
		return tierNormal, nil
	case p == TiersMalformed:
		return "", malformedXML()
	case p == TiersInvalid:
		return "", invalidArgument("Retrieval tiers are not supported", "Tier", tier)
	case p == TiersIgnored:
		return tierNormal, nil
	case speed[tier] == 0:
		return "", malformedXML()
	}
	return tier, nil
}

func (q *request) restoreObject() error {
	if q.s.o.Provider.ClassesIgnored {
		return notImplemented("restore")
	}
	var body restoreRequest
	if err := q.readXML(&body); err != nil {
		return err
	}
	tier, err := q.tierOf(&body)
	if err != nil {
		return err
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	v, err := q.look(b, q.key, q.query.Get("versionId"))
	if err != nil {
		return err
	}
	q.entry.Class = v.Class
	if !q.s.cold(v.Class) {
		return fail(http.StatusForbidden, "InvalidObjectState", "Restore is not allowed for the object's current storage class", [2]string{"StorageClass", v.Class})
	}
	if body.Days == nil {
		return malformedXML()
	}
	if *body.Days < 1 {
		return invalidArgument("restoration days should be at least 1", "Days", fmt.Sprint(*body.Days))
	}
	q.entry.Tier = tier
	status, err := q.restore(v, tier, *body.Days)
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Length", "0")
	q.answer(status)
	return nil
}

// restore takes up a request and tells with which status it is answered. s.mu is held.
func (q *request) restore(v *version, tier string, days int) (int, error) {
	s := q.s
	took, ok := s.span(v.Class, tier)
	if !ok {
		return 0, invalidArgument("Retrieval option is not supported by this storage class", "Tier", tier)
	}
	r := v.restore
	switch {
	case r != nil && !r.expires.IsZero():
		r.days = days
		s.extend(v, r, s.moment)
		return http.StatusOK, nil
	case r != nil && (speed[tier] <= speed[r.tier] || s.o.Provider.Tiers != TiersKnown):
		return 0, fail(http.StatusConflict, "RestoreAlreadyInProgress", "Object restore is already in progress")
	}
	if tier == expedited && (q.fault.capacity() || s.o.Expedited > 0 && s.fast >= s.o.Expedited) {
		return 0, fail(http.StatusServiceUnavailable, "GlacierExpeditedRetrievalNotAvailable", "Glacier expedited retrievals are currently not available, please try again later")
	}
	v.asked++
	jitter := s.chance("thaw", v.Key, fmt.Sprint(v.asked)) // not by what else is under way, so that it comes out the same again
	ready := s.moment.Add(s.quick(time.Duration((float64(took.least) + jitter*float64(took.most-took.least)) / s.o.Hurry)))
	if r == nil {
		r = &restore{days: days}
		v.restore = r
	} else if r.ready.Before(ready) {
		ready = r.ready // a faster tier never makes it later
	}
	if r.fast {
		s.fast--
	}
	if r.fast = tier == expedited; r.fast {
		s.fast++
	}
	r.tier, r.ready = tier, ready
	s.whenReady(v, r)
	s.meter.retrieve(s.billed(s.moment), v.Class, tier, v.Size*s.scale(v.Class))
	if s.o.Provider.RestoreOK {
		return http.StatusOK, nil
	}
	return http.StatusAccepted, nil
}

// whenReady has the copy be there at r.ready, unless another request changes that.
func (s *Server) whenReady(v *version, r *restore) {
	number := s.number(r)
	s.at(r.ready, func(at time.Time) {
		if v.restore == r && r.number == number {
			s.thawed(v, r, at)
		}
	})
}

// number makes what was to happen with a copy void.
func (s *Server) number(r *restore) uint64 {
	s.thaws++
	r.number = s.thaws
	return r.number
}

// span tells how long a tier takes with a class.
func (s *Server) span(class, tier string) (span, bool) {
	if slices.Contains(s.o.Provider.Cold, class) {
		class = glacier
	}
	if s.o.Provider.Thaw > 0 {
		return span{s.o.Provider.Thaw / 2, s.o.Provider.Thaw}, true
	}
	took, ok := spans[class][tier]
	return took, ok
}

// thawed makes the copy readable.
func (s *Server) thawed(v *version, r *restore, at time.Time) {
	if r.fast {
		r.fast = false
		s.fast--
	}
	s.meter.copyBegins(s.billed(at), v.Size*s.scale(v.Class))
	s.extend(v, r, at)
}

// extend keeps a copy for r.days from then on, "rounded to the next day midnight UTC" (User Guide, "Restoring an archived object"). That may be less than before.
func (s *Server) extend(v *version, r *restore, from time.Time) {
	r.expires = s.due(from, r.days)
	s.whenExpired(v, r)
}

// whenExpired has the copy go at r.expires.
func (s *Server) whenExpired(v *version, r *restore) {
	number := s.number(r)
	s.at(r.expires, func(time.Time) {
		if v.restore == r && r.number == number {
			s.endRestore(v)
		}
	})
}

// due is when something ends that lasts so many days.
func (s *Server) due(from time.Time, days int) time.Time {
	if s.o.Speed != 1 {
		return from.Add(s.quick(time.Duration(days) * day)).Truncate(time.Second).Add(time.Second)
	}
	return midnight(from.Add(time.Duration(days) * day))
}
