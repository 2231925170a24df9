package cli

import (
	"bufio"
	"io"
	"net/http"
	"sync"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/web/gate"
)

// servedPages are those of firn serve. They are made when a configuration first asks for them, and stand until the daemon ends: sessions and what was begun outlive each configuration.
type servedPages struct {
	mu      sync.Mutex
	face    *face
	ended   bool
	shown   bool   // by the configuration in use
	address string // where the daemon listens; empty: nowhere
	forget  func() // takes back where pages are
}

// of returns what answers for a configuration, and what has it show what that says once it is in use. Without pages the first is nil.
func (s *servedPages) of(c *console, cfg *config.Config, r *job.Runner) (http.Handler, func(), error) {
	if !cfg.Serve.UI {
		return nil, func() { s.show(false) }, nil
	}
	silent := &console{in: c.in, out: bufio.NewWriter(io.Discard), err: io.Discard, now: c.now, quiet: true}
	places, err := uiPlacesOf(silent, cfg, nil)
	if err != nil {
		return nil, nil, err
	}
	all, err := webPlaces(places)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.face == nil {
		if s.face, err = newFace(c, gate.New(gate.Options{Now: c.now, Folder: linksDir()}), cfg, places); err != nil {
			return nil, nil, err
		}
		if s.ended {
			s.face.Close()
		}
	}
	f := s.face
	return f, func() {
		f.UsePlaces(all)
		f.runner.Store(r)
		s.show(true)
	}, nil
}

// show notes whether the configuration in use has pages.
func (s *servedPages) show(shown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = shown
	s.announce()
}

// moved notes where the daemon listens.
func (s *servedPages) moved(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = address
	s.announce()
}

// announce writes down where pages are, for firn ui --link. s.mu is held.
func (s *servedPages) announce() {
	if s.forget != nil {
		s.forget()
		s.forget = nil
	}
	if s.shown && s.address != "" && !s.ended {
		s.forget = announce(browsed(s.address))
	}
}

// end closes the pages, and stops what was begun from them.
func (s *servedPages) end() {
	s.mu.Lock()
	f := s.face
	s.ended = true
	s.announce()
	s.mu.Unlock()
	if f != nil {
		f.Close()
	}
}
