package suites

import (
	"encoding/pem"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/qemutest"
)

const tlsPath = "github.com/sluice-os/sluice/qemutest/tls"

// TestAuthorities has a program that knows nothing of Sluice verify certificates: with
// the authorities that the builder gives it, and with one of the manifest's.
func TestAuthorities(t *testing.T) {
	programs, err := buildPrograms([]string{tlsPath})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(nil)
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	server.Close()
	mozilla, own := domainOf("mozilla", programs["tls"]), domainOf("own", programs["tls"])
	own.Files = []archive.File{{Name: "etc/ssl/certs/ca-certificates.crt", Data: one}}
	vm := start(t, qemutest.Config{Memory: 160, Image: imageWith(t, "microvm", mozilla, own)})
	for name, least := range map[string]int{"mozilla": 101, "own": 1} {
		found := vm.Times(t, 0, name+`: roots: (\d+)`, 1)
		if n, err := strconv.Atoi(found[1]); err != nil || n < least || name == "own" && n != 1 {
			t.Errorf("%s has %s roots", name, found[1])
		}
		vm.Times(t, 0, name+": system's authorities: unknown authority: true", 1)
		vm.Times(t, 0, name+": the server's own certificate: <nil>", 1)
	}
	powerOff(t, vm)
}
