package suites

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/qemutest"
)

// TestFetch has the app fetch get a page over HTTPS from a server of the test, at the address that
// the machine has for its host: with the roots that its file names it does, with the image's own
// the certificate is not good.
func TestFetch(t *testing.T) {
	const page = "what was asked for\n"
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || r.TLS.Version < tls.VersionTLS12 {
			t.Errorf("asked without TLS: %+v", r.TLS)
		}
		fmt.Fprint(w, page)
	}))
	const host = "10.0.2.2" // this one, for a machine on the user network
	certificate := signed(t, netip.MustParseAddr(host))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // one client goes away, as it should
	server.EnableHTTP2, server.TLS = true, &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	port := netip.MustParseAddrPort(server.Listener.Addr().String()).Port()
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	at := func(name string) string { return "https://" + net.JoinHostPort(name, fmt.Sprint(port)) + "/" }

	domain := func(name string, args ...string) build.Program {
		return build.Program{
			Domain: config.Domain{
				Name: name, Quota: 32 << 20, Weight: 100, Args: args,
				Connect: []string{fmt.Sprintf("tcp/%s:%d", host, port)},
			},
			Package: "./userland/apps/fetch", Dir: filepath.Join("..", ".."),
			Files: []archive.File{{Name: "roots.pem", Data: roots}},
		}
	}
	image := qemutest.BuildOptions(t, build.Options{Board: "microvm", Domains: []build.Program{
		domain("trusts", "-ca", "/roots.pem", at(host)),
		domain("own", at(host)),
		domain("any", "-k", at(host)),
	}})
	vm := start(t, qemutest.Config{Memory: 192, Image: image, Net: qemutest.UserNet})
	vm.Seen(t, "address acquired")
	run := func(name string) string {
		t.Helper()
		from := len(vm.Output())
		vm.Command(t, "domain start "+name)
		vm.Times(t, from, `domain ended domain=`+name+` reason=`, 1)
		return vm.Output()[from:]
	}
	for _, name := range []string{"trusts", "any"} {
		if said := run(name); !strings.Contains(said, name+": "+strings.TrimSpace(page)) || !strings.Contains(said, "HTTP/2.0 200 OK") || !strings.Contains(said, "exited with status 0") {
			t.Errorf("%s:\n%s", name, said)
		}
	}
	if said := run("own"); strings.Contains(said, strings.TrimSpace(page)) || !strings.Contains(said, "certificate") || !strings.Contains(said, "exited with status 4") {
		t.Errorf("with the roots of the image:\n%s", said)
	}
	powerOff(t, vm)
}

// signed makes a certificate for an address that has signed itself.
func signed(t *testing.T, address netip.Addr) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{address.AsSlice()}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
