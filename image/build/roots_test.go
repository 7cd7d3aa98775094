package build

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/newc"
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

// files reads an archive.
func files(t *testing.T, packed []byte) map[string][]byte {
	t.Helper()
	list := map[string][]byte{}
	for {
		f, rest, more, bad := newc.Next(packed)
		if bad {
			t.Fatal("the archive cannot be read")
		}
		if !more {
			return list
		}
		list[f.Name], packed = f.Data, rest
	}
}

// TestRootsOfPrograms builds programs: one with TLS has all authorities that are
// trusted without condition, whatever the machine that builds trusts; one without has
// no files; and a second build, elsewhere, is the same.
func TestRootsOfPrograms(t *testing.T) {
	want := map[string]bool{}
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			want[string(r.Certificate)] = true
		}
	}
	t.Setenv("SSL_CERT_FILE", os.DevNull)
	var packed [2][]byte
	dirs := [2]string{checkout(t), checkout(t)}
	for i := range packed {
		t.Chdir(dirs[i])
		secure := greet("./qemutest/tls")
		secure.Name = "secure"
		o := Options{Cache: t.TempDir(), Domains: []Program{secure, greet("./userland/apps/greet")}}
		var err error
		if packed[i], err = o.pack(context.Background(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("two archives of one commit differ")
	}
	list := files(t, packed[0])
	if _, ok := list["greet"+config.FilesSuffix]; ok || list["greet"] == nil {
		t.Error("a program without TLS has files, or is not there")
	}
	text := files(t, list["secure"+config.FilesSuffix])[rootsName]
	t.Logf("%d authorities in %d bytes, %d with what is around them", len(want), len(text), len(list["secure"+config.FilesSuffix]))
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !want[string(block.Bytes)] {
			t.Errorf("an authority that the module does not have, or twice: %x", block.Bytes)
		}
		delete(want, string(block.Bytes))
	}
	if len(want) > 0 {
		t.Errorf("%d authorities are left out", len(want))
	}
}
