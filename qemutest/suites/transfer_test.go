package suites

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// transferSize is how much goes each way, in bytes.
const transferSize = 20 << 20

// TestTransfer moves 20 MiB each way and compares hashes.
func TestTransfer(t *testing.T) {
	for _, c := range []struct {
		machine string
		memory  int
	}{{"microvm", 64}, {"microvm", 512}, {"q35", 64}, {"pc", 64}} {
		if !all && c.memory != 64 {
			continue
		}
		t.Run(fmt.Sprintf("%s/%dMiB/wire", c.machine, c.memory), func(t *testing.T) {
			_, peer := startWithPeer(t, qemutest.Config{Machine: c.machine, Memory: c.memory})
			transfer(t, peer.HTTP(), url(peer.Address4(), ""))
		})
		t.Run(fmt.Sprintf("%s/%dMiB/user", c.machine, c.memory), func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: c.machine, Memory: c.memory, Net: qemutest.UserNet, Forward: []string{"tcp/80"}})
			vm.Seen(t, "dhcp: address acquired")
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			transfer(t, client, "http://"+vm.Forwarded(t, "tcp/80"))
		})
	}
	for _, n := range nics {
		if n.card == qemu.CardVirtIO {
			continue // has its turn above
		}
		t.Run(n.String(), func(t *testing.T) {
			_, peer := startWithPeer(t, qemutest.Config{Machine: n.machine, Card: n.card})
			transfer(t, peer.HTTP(), url(peer.Address4(), ""))
		})
	}
}

// TestTransferIPv6 is the same over IPv6.
func TestTransferIPv6(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			_, peer, addr := autoconfigured(t, qemutest.Config{Machine: n.machine, Card: n.card})
			peer.Ping(t, addr)
			transfer(t, peer.HTTP(), url(addr, ""))
		})
	}
}

func transfer(t *testing.T, client *http.Client, base string) {
	t.Helper()
	download(t, client, base)
	upload(t, client, base)
}

// download checks the stream of /bytes against its definition: byte i is, with
// j = i mod 65521, the low byte of 7j + (j >> 8).
func download(t *testing.T, client *http.Client, base string) {
	t.Helper()
	response, err := client.Get(fmt.Sprintf("%s/bytes?n=%d", base, transferSize))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got := sha256.New()
	n, err := io.Copy(got, response.Body)
	if err != nil || n != transferSize {
		t.Fatalf("/bytes gave %d bytes, %v; want %d", n, err, transferSize)
	}
	want := make([]byte, transferSize)
	for i := range want {
		j := i % 65521
		want[i] = byte(7*j + j>>8)
	}
	if sum := sha256.Sum256(want); hex.EncodeToString(sum[:]) != hex.EncodeToString(got.Sum(nil)) {
		t.Errorf("/bytes: hash %x, want %x", got.Sum(nil), sum)
	}
}

// upload sends random bytes to /hash.
func upload(t *testing.T, client *http.Client, base string) {
	t.Helper()
	body := make([]byte, transferSize)
	rand.NewChaCha8([32]byte{20}).Read(body)
	response, err := client.Post(base+"/hash", "application/octet-stream", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum, _, _ := strings.Cut(strings.TrimSpace(string(answer)), " ")
	if want := fmt.Sprintf("%x", sha256.Sum256(body)); sum != want {
		t.Errorf("/hash says %q, want %s", answer, want)
	}
}
