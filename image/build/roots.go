package build

import (
	"bytes"
	"encoding/pem"
	"slices"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/sluice-os/sluice/image/archive"
)

const (
	// rootsName is where package crypto/x509 looks for certificates first.
	rootsName = "etc/ssl/certs/ca-certificates.crt"
	// rootsUser is the function that does so; the names of functions are in every
	// program.
	rootsUser = "crypto/x509.loadSystemRoots"
)

// roots are the certificates of authorities that Mozilla trusts, as PEM, from the
// module that go.mod pins: not those of the machine that builds. Authorities that it
// trusts with conditions are left out, as a file cannot say them.
var roots = sync.OnceValue(func() []byte {
	var text bytes.Buffer
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}) // a Buffer takes everything
		}
	}
	return text.Bytes()
})

// withRoots adds the certificates to the files of a program that looks for them,
// unless they have such a file.
func withRoots(files []archive.File, program []byte) []archive.File {
	has := slices.ContainsFunc(files, func(f archive.File) bool { return f.Name == rootsName })
	if has || !bytes.Contains(program, []byte(rootsUser)) {
		return files
	}
	return append(slices.Clone(files), archive.File{Name: rootsName, Data: roots(), Mode: 0o444})
}
