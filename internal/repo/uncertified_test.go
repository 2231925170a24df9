package repo

import (
	"context"
	"testing"
	"time"

	"firn/internal/keys"
	"firn/internal/store/mem"
)

// TestRevokedWithoutCertificate: taking the certificate of a revoked host away does not make what it wrote after its revocation count.
func TestRevokedWithoutCertificate(t *testing.T) {
	ctx := context.Background()
	st := mem.New(mem.Options{})
	pass, err := keys.Passphrase([]byte("x"), keys.MinWork)
	if err != nil {
		t.Fatal(err)
	}
	access, err := Init(ctx, st, InitOptions{Keys: []NewKey{{"p", pass}}, HostName: "nas"})
	if err != nil {
		t.Fatal(err)
	}
	host := access.Host.Host
	for _, revoked := range []bool{false, true} {
		r, err := Open(ctx, st, Access{Secrets: access.Secrets}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if revoked {
			if err := r.Revoke(ctx, host, "stolen"); err == nil {
				t.Fatal("revoked without a certificate to tell the scope")
			}
			k, err := r.scope(access.Host.ScopeID)
			if err != nil {
				t.Fatal(err)
			}
			body, err := (&keys.Revocation{Host: host, Time: time.Now()}).Body()
			if err != nil {
				t.Fatal(err)
			}
			object, err := k.sealRoot("revoke", body)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.put(ctx, hostsPrefix+host.String()+revokeSuffix, object, ""); err != nil {
				t.Fatal(err)
			}
		} else if err := st.Delete(ctx, hostsPrefix+host.String()); err != nil {
			t.Fatal(err)
		}
		k, err := r.scope(access.Host.ScopeID)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.trust(ctx, host); err != nil {
			t.Fatalf("revoked %v: a reader gives up: %v", revoked, err)
		}
		if late := k.inTime(host, time.Now().Add(time.Hour)); (late != nil) != revoked {
			t.Fatalf("revoked %v: what came later: %v", revoked, late)
		}
	}
	writer, err := Open(ctx, st, access, Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := writer.scope(access.Host.ScopeID)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.trust(ctx, [16]byte{1}); err == nil {
		t.Fatal("a writer trusts a host without a certificate")
	}
}
