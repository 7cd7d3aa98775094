package suites

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// boardCase is one machine to try with all that a person would do to it.
type boardCase struct {
	machine string
	card    string // of qemu.Cards
}

func (c boardCase) String() string { return c.machine + "/" + c.card }

// driver is which driver the card has.
func (c boardCase) driver() string {
	if c.card == qemu.CardVirtIO {
		return "virtio-net"
	}
	return "e1000"
}

// boardCases is the product of machines and cards, less what does not go together.
func boardCases() (cases []boardCase) {
	for _, machine := range machines {
		for _, card := range qemu.Cards {
			if machine != "microvm" || card == qemu.CardVirtIO {
				cases = append(cases, boardCase{machine, card})
			}
		}
	}
	return cases
}

// TestBoards boots each machine with each card and has a domain serve there: an address by
// DHCP, ping, HTTP, 20 MiB each way with checked hashes, the cable pulled and the card reset
// in the middle of others, and power off.
func TestBoards(t *testing.T) {
	for _, c := range boardCases() {
		t.Run(c.String(), func(t *testing.T) {
			d := serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")
			vm, peer := startWithPeer(t, qemutest.Config{
				Machine: c.machine, Card: c.card, Memory: 160, Image: imageWith(t, qemu.Machines[c.machine], d),
			})
			vm.Seen(t, "network interface name=eth0 driver="+c.driver())
			vm.Seen(t, "server: serving")
			host, client := peer.Address4(), peer.HTTP()
			peer.Ping(t, host)
			if got := get(t, client, url(host, "/hello")); got != "hello\n" {
				t.Errorf("/hello is %q", got)
			}
			download := fmt.Sprintf("/bytes/%d", transferSize)
			takes(t, client, url(host, download), nil)
			gives(t, client, url(host, "/sum"), nil)

			gives(t, client, url(host, "/sum"), func() {
				vm.SetLink(t, false)
				vm.Expect(t, "link down name=eth0")
				vm.SetLink(t, true)
				vm.Expect(t, "link up name=eth0")
			})
			takes(t, client, url(host, download), func() {
				vm.Command(t, "fault reset-card")
				vm.Seen(t, c.driver()+" device is reset")
			})
			for name, v := range counters(t, vm) {
				switch {
				case name == "reset_blocked" && v != 1:
					t.Errorf("%d resets, want the one that was asked for", v)
				case slices.Contains([]string{"stopped", "rx_errors", "rx_short", "rx_bad_release", "tx_bad_packet", "tx_bad_offload", "host_rx_bad_checksum"}, name) && v != 0:
					t.Errorf("%s is %d", name, v)
				}
			}
			powerOff(t, vm)
		})
	}
}

// takes downloads transferSize bytes from /bytes of the server, whose pattern it checks by
// its hash. In the middle it calls then, unless that is nil.
func takes(t *testing.T, client *http.Client, url string, then func()) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got := sha256.New()
	n, err := io.CopyN(got, response.Body, transferSize/2)
	if err == nil && then != nil {
		then()
	}
	if err == nil {
		var m int64
		m, err = io.Copy(got, response.Body)
		n += m
	}
	if err != nil || n != transferSize {
		t.Fatalf("%s: %d of %d bytes came, %v", url, n, transferSize, err)
	}
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i * 7)
	}
	if want := sha256.Sum256(bytes.Repeat(block, transferSize/len(block))); !bytes.Equal(got.Sum(nil), want[:]) {
		t.Errorf("%s: hash %x, want %x", url, got.Sum(nil), want)
	}
}

// gives uploads transferSize random bytes to the server, which says their hash. In the
// middle it calls then, unless that is nil.
func gives(t *testing.T, client *http.Client, url string, then func()) {
	t.Helper()
	body := make([]byte, transferSize)
	rand.NewChaCha8([32]byte{21}).Read(body)
	middle := readFunc(func([]byte) (int, error) {
		if then != nil {
			then()
		}
		return 0, io.EOF
	})
	half := len(body) / 2
	response, err := client.Post(url, "application/octet-stream", io.MultiReader(bytes.NewReader(body[:half]), middle, bytes.NewReader(body[half:])))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if want := fmt.Sprintf("%x", sha256.Sum256(body)); err != nil || string(answer) != want {
		t.Errorf("%s says %q, %v; want %s", url, answer, err, want)
	}
}

// readFunc is an io.Reader.
type readFunc func(b []byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
