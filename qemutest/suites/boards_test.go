package suites

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// boardCase is one machine to try with all that a person would do to it.
type boardCase struct {
	machine  string
	card     string // of qemu.Cards
	format   string // of build.Formats
	firmware string // of qemu.Firmwares; "" for an ELF, which QEMU loads
}

func (c boardCase) String() string {
	return strings.Trim(strings.Join([]string{c.machine, c.card, c.format, c.firmware}, "/"), "/")
}

// driver is which driver the card has.
func (c boardCase) driver() string {
	if c.card == qemu.CardVirtIO {
		return "virtio-net"
	}
	return "e1000"
}

// boardCases holds every value and every pair of machine, card, format and firmware that
// goes together, or the product.
func boardCases(all bool) (cases []boardCase) {
	for _, machine := range []string{"microvm", "firecracker", "cloudhypervisor"} {
		cases = append(cases, boardCase{machine, qemu.CardVirtIO, "elf", ""})
	}
	for i, machine := range []string{"q35", "pc"} {
		for j, card := range qemu.Cards {
			for k, format := range build.Formats {
				if format == "elf" {
					if all || (i+j)%2 == 0 || card == qemu.CardVirtIO {
						cases = append(cases, boardCase{machine, card, format, ""})
					}
					continue
				}
				for l, firmware := range qemu.Firmwares {
					if all || (i+j+k)%2 == 0 && (i+l+k/2)%2 == 0 {
						cases = append(cases, boardCase{machine, card, format, firmware})
					}
				}
			}
		}
	}
	return cases
}

// TestBoardCasesHoldEveryPair: what the product has by twos, the table has.
func TestBoardCasesHoldEveryPair(t *testing.T) {
	pairs := func(cases []boardCase) map[string]bool {
		set := map[string]bool{}
		for _, c := range cases {
			addPairs(set, "machine "+c.machine, "card "+c.card, "format "+c.format, "firmware "+c.firmware)
		}
		return set
	}
	holdsAll(t, pairs(boardCases(false)), pairs(boardCases(true)))
}

// TestBoards boots machines with each card, from each format of image as the builder makes it,
// by each firmware, and has a domain serve there: an address by DHCP, ping, HTTP, 20 MiB each
// way with checked hashes, the cable pulled, the link flapping and the card reset in the middle
// of others, and power off.
func TestBoards(t *testing.T) {
	disks := map[string]string{}
	for _, format := range build.Formats {
		if format != "elf" {
			disks[format] = qemutest.BuildOptions(t, build.Options{
				Board: "pc", Format: format, Output: filepath.Join(t.TempDir(), "disk."+format),
				Domains: []build.Program{serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")},
			})
		}
	}
	for _, c := range boardCases(all) {
		t.Run(c.String(), func(t *testing.T) {
			config := qemutest.Config{Machine: c.machine, Card: c.card, Memory: 256, Firmware: c.firmware, Image: disks[c.format]}
			switch c.format {
			case "elf":
				config.Image = imageWith(t, qemu.Machines[c.machine], serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80"))
			case "iso":
				config.Bus = "cd"
			}
			vm, peer := startWithPeer(t, config)
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
			gives(t, client, url(host, "/sum"), func() {
				vm.Command(t, "fault reset-card")
			})
			for range flaps {
				vm.SetLink(t, false)
				vm.SetLink(t, true)
			}
			peer.Ping(t, host)
			takes(t, client, url(host, download), nil)
			for name, v := range counters(t, vm) {
				switch {
				case name == "reset_blocked" && v != 2:
					t.Errorf("%d resets, want the two that were asked for", v)
				case slices.Contains([]string{"stopped", "rx_errors", "rx_short", "rx_bad_release", "tx_bad_packet", "tx_bad_offload", "host_rx_bad_checksum"}, name) && v != 0:
					t.Errorf("%s is %d", name, v)
				}
			}
			powerOff(t, vm)
		})
	}
}

// flaps is how often a link goes away and comes back at once.
const flaps = 5

// TestCablePulledInDownload: a domain's download goes on behind a pulled cable, by each card,
// although all that it has sent meanwhile is lost.
func TestCablePulledInDownload(t *testing.T) {
	for _, card := range qemu.Cards {
		t.Run(card, func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{
				Machine: "q35", Card: card, Memory: 256,
				Image: imageWith(t, "pc", serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")),
			})
			vm.Seen(t, "server: serving")
			takes(t, peer.HTTP(), url(peer.Address4(), fmt.Sprintf("/bytes/%d", transferSize)), func() {
				vm.SetLink(t, false)
				vm.Expect(t, "link down name=eth0")
				vm.SetLink(t, true)
				vm.Expect(t, "link up name=eth0")
			})
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
