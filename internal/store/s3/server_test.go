package s3

import (
	"crypto/rand"
	"encoding/hex"
	"testing"

	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/store"
	"firn/internal/storetest"
	"firn/internal/storetest/versitygw"
	"firn/internal/storetest/wrappers"
)

func serverOptions(server *versitygw.Server, bucket, prefix string) Options {
	return Options{Bucket: bucket, Prefix: prefix, Endpoint: server.Endpoint, Region: server.Region,
		Credentials: awscredentials.NewStaticCredentialsProvider(server.Access, server.Secret, "")}
}

func randomBucket() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return "firn-" + hex.EncodeToString(b[:])
}

// open makes a new bucket on server.
func open(t *testing.T, server *versitygw.Server, change func(*Options)) *Store {
	t.Helper()
	o := serverOptions(server, randomBucket(), "some/prefix")
	if change != nil {
		change(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Make(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestServer(t *testing.T) {
	server := versitygw.Start(t)
	for wrapper, wrap := range wrappers.All() {
		t.Run(wrapper, func(t *testing.T) {
			u := storetest.Suite{Open: func(t *testing.T) store.Store { return wrap(t, open(t, server, nil)) }, Objects: 50}
			if wrapper == "bare" {
				u.Objects = 0
			}
			u.Run(t)
		})
	}
}
