package gate

import (
	"io"
	"log"
	"net/http"
	"time"
)

// Server is a server with the limits that suit pages: a header is read in seconds, an answer written in a minute unless it said that it takes Long.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: answerTime, WriteTimeout: answerTime, IdleTimeout: time.Minute, MaxHeaderBytes: 128 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // what browsers do to connections is no news
	}
}
