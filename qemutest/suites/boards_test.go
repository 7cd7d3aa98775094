package suites

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
			before := counters(t, vm)
			takes(t, client, url(host, download))
			taken := counters(t, vm)
			gives(t, client, url(host, "/sum"))
			if c.driver() == "e1000" {
				intelOffloads(t, c.card, before, taken, counters(t, vm))
				interrupts := map[string]string{"e1000e": "MSI"}[c.card]
				if text := vm.Command(t, "pci"); !strings.Contains(text, "driver in use: e1000\n\tInterrupts: "+cmp.Or(interrupts, "line")+"\n") {
					t.Errorf("the card interrupts in another way:\n%s", text)
				}
			}

			givesThrough(t, client, url(host, "/sum"), func() {
				vm.SetLink(t, false)
				vm.Expect(t, "link down name=eth0")
				sent := peer.Retransmitted()
				until(t, vm, "nothing that the peer sends is lost", func() bool { return peer.Retransmitted() > sent })
				vm.SetLink(t, true)
				vm.Expect(t, "link up name=eth0")
			})
			const reset = " device is reset .*the console asked for it"
			takesThrough(t, client, url(host, endless), func() {
				vm.Command(t, "fault reset-card")
				vm.Times(t, 0, c.driver()+reset, 1)
			})
			givesThrough(t, client, url(host, "/sum"), func() {
				vm.Command(t, "fault reset-card")
				vm.Times(t, 0, c.driver()+reset, 2)
			})
			before = counters(t, vm)
			for range flaps {
				vm.SetLink(t, false)
				vm.Expect(t, "link down name=eth0")
				vm.SetLink(t, true)
				vm.Expect(t, "link up name=eth0")
			}
			after := counters(t, vm)
			if n := after["link_changes"] - before["link_changes"]; n != 2*flaps {
				t.Errorf("%d changes of the link in %d flaps", n, flaps)
			}
			peer.Ping(t, host)
			takes(t, client, url(host, download))
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

// intelOffloads compares counters before a download, after it, and after an upload: one of Intel's
// cards cuts what it sends and makes the sums, and the 82574L looks at those of what it receives.
func intelOffloads(t *testing.T, card string, before, taken, given map[string]uint64) {
	t.Helper()
	const segments = transferSize / 1460
	down := func(name string) uint64 { return taken[name] - before[name] }
	// How large they are is TCP's business: a window that opens by two segments is sent as two.
	n := down("tx_frames")
	t.Logf("%d frames for 20 MiB, which are %d segments", n, segments)
	if n == 0 || n >= segments {
		t.Errorf("%d frames for 20 MiB, which are %d segments: large frames are not used", n, segments)
	}
	// QEMU's 82574L counts a frame that it cuts as one.
	if n := down("card_tx_frames"); card != "e1000e" && n < segments {
		t.Errorf("the card has sent %d frames for 20 MiB, which are %d segments", n, segments)
	}
	if n := down("card_segmented"); n == 0 {
		t.Error("the card has cut nothing")
	}
	software := []string{"host_tx_checksum_software"}
	if card == "e1000e" {
		software = append(software, "host_rx_checksum_software")
	}
	for _, name := range software {
		if n := given[name] - before[name]; n > segments/100 {
			t.Errorf("%s: %d sums were made in software", name, n)
		}
	}
}

// flaps is how often a link goes away and comes back.
const flaps = 5

// TestCablePulledInDownload: a domain's download goes on behind a pulled cable, by each card,
// although what was on its way is lost. The peer takes all the while.
func TestCablePulledInDownload(t *testing.T) {
	for _, card := range qemu.Cards {
		t.Run(card, func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{
				Machine: "q35", Card: card, Memory: 256,
				Image: imageWith(t, "pc", serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")),
			})
			vm.Seen(t, "server: serving")
			takesThrough(t, peer.HTTP(), url(peer.Address4(), endless), func() {
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
// its hash.
func takes(t *testing.T, client *http.Client, url string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got := sha256.New()
	if n, err := io.Copy(got, response.Body); err != nil || n != transferSize {
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

// gives uploads transferSize random bytes to the server, which says their hash.
func gives(t *testing.T, client *http.Client, url string) {
	t.Helper()
	body := make([]byte, transferSize)
	rand.NewChaCha8([32]byte{21}).Read(body)
	givesBody(t, t.Context(), client, url, bytes.NewReader(body), func() [32]byte { return sha256.Sum256(body) })
}

// givesBody uploads a body to the server, which says its hash.
func givesBody(t *testing.T, ctx context.Context, client *http.Client, url string, body io.Reader, sum func() [32]byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		t.Error(err)
		return
	}
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if want := fmt.Sprintf("%x", sum()); err != nil || string(answer) != want {
		t.Errorf("%s says %q, %v; want %s", url, answer, err, want)
	}
}

// endless is a page of the server of which takesThrough takes as much as it needs.
const endless = "/bytes/17179869184"

// flow counts what a transfer has moved that goes on until it is told to end.
type flow struct {
	moved, end atomic.Int64
	begun      chan struct{} // closed when it has moved an eighth of transferSize
}

func newFlow() *flow {
	f := &flow{begun: make(chan struct{})}
	f.end.Store(math.MaxInt64)
	return f
}

// add counts n more bytes.
func (f *flow) add(n int) {
	const first = transferSize / 8
	if now := f.moved.Add(int64(n)); now >= first && now-int64(n) < first {
		close(f.begun)
	}
}

// through calls then in the middle of the transfer, and has it end a while after.
func (f *flow) through(t *testing.T, over <-chan struct{}, then func()) {
	t.Helper()
	select {
	case <-f.begun:
		then()
	case <-over:
	}
	select {
	case <-over:
		t.Errorf("the transfer was over after %d bytes, in the middle of it", f.moved.Load())
	default:
	}
	f.end.Store(f.moved.Load() + transferSize/2)
	<-over
}

// takesThrough downloads from an endless page, whose pattern it checks, while then runs and for
// a while after it.
func takesThrough(t *testing.T, client *http.Client, url string, then func()) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	f, over := newFlow(), make(chan struct{})
	defer func() {
		response.Body.Close()
		<-over
	}()
	go func() {
		defer close(over)
		b := make([]byte, 64<<10)
		for at := 0; int64(at) < f.end.Load(); {
			n, err := response.Body.Read(b)
			for i, v := range b[:n] {
				if v != byte((at+i)*7) {
					t.Errorf("%s: byte %d is %#x", url, at+i, v)
					return
				}
			}
			at += n
			f.add(n)
			if err != nil {
				t.Errorf("%s: after %d bytes: %v", url, at, err)
				return
			}
		}
	}()
	f.through(t, over, then)
}

// givesThrough uploads random bytes to the server, which says their hash, while then runs and
// for a while after it.
func givesThrough(t *testing.T, client *http.Client, url string, then func()) {
	t.Helper()
	f, over, sum, source := newFlow(), make(chan struct{}), sha256.New(), rand.NewChaCha8([32]byte{22})
	body := readFunc(func(b []byte) (int, error) {
		if f.moved.Load() >= f.end.Load() {
			return 0, io.EOF
		}
		source.Read(b)
		sum.Write(b)
		f.add(len(b))
		return len(b), nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer func() {
		cancel()
		<-over
	}()
	go func() {
		defer close(over)
		givesBody(t, ctx, client, url, body, func() [32]byte { return [32]byte(sum.Sum(nil)) })
	}()
	f.through(t, over, then)
}

// until waits for what is to be true soon; the test fails with what when it is not before the
// machine's deadline.
func until(t *testing.T, vm *qemutest.VM, what string, f func() bool) {
	t.Helper()
	for !f() {
		select {
		case <-vm.Context().Done():
			t.Fatal(what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// readFunc is an io.Reader.
type readFunc func(b []byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
