package build

import (
	"crypto/x509"
	"testing"

	"github.com/sluice-os/sluice/image/archive"
)

// TestRoots: a program that verifies certificates finds the authorities', another one
// has no use for them, and a file of the manifest wins.
func TestRoots(t *testing.T) {
	user := []byte("\x00crypto/x509.loadSystemRoots\x00")
	got := withRoots([]archive.File{{Name: "etc/other"}}, user)
	if len(got) != 2 || got[1].Name != rootsName {
		t.Fatalf("%d files", len(got))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(got[1].Data) {
		t.Error("no certificate can be read")
	}
	if n := len(got[1].Data); n < 100_000 || n > 400_000 {
		t.Errorf("the certificates take %d bytes", n)
	}
	if got := withRoots(nil, []byte("crypto/x509.parse")); len(got) != 0 {
		t.Error("a program that does not verify has certificates")
	}
	own := []archive.File{{Name: rootsName, Data: []byte("own")}}
	if got := withRoots(own, user); len(got) != 1 || string(got[0].Data) != "own" {
		t.Error("the manifest's file was replaced")
	}
}
