package suites

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// TestHungCard: one of Intel's cards that sends nothing more in the middle of a download is found
// by its driver's watchdog and reset, once, and the download goes on.
func TestHungCard(t *testing.T) {
	for _, n := range nics {
		if n.card == qemu.CardVirtIO {
			continue
		}
		t.Run(n.String(), func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{
				Machine: n.machine, Card: n.card, Memory: 256,
				Image: imageWith(t, "pc", serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")),
			})
			vm.Seen(t, "server: serving")
			takesThrough(t, peer.HTTP(), url(peer.Address4(), endless), func() {
				if text := vm.Command(t, "fault hang-card"); !strings.Contains(text, "the card hangs") {
					t.Errorf("fault hang-card printed %q", text)
				}
				vm.Times(t, 0, `device is reset .*reason=reset_tx_timeout err="device finished none of \d+ frames`, 1)
			})
			peer.Ping(t, peer.Address4())
			values := counters(t, vm)
			if values["tx_lost"] == 0 {
				t.Error("the card held nothing")
			}
			for name, v := range values {
				switch want := uint64(0); {
				case name == "reset_tx_timeout":
					want = 1
					fallthrough
				case strings.HasPrefix(name, "reset_"), name == "stopped":
					if v != want {
						t.Errorf("%s is %d, want %d", name, v, want)
					}
				}
			}
			powerOff(t, vm)
		})
	}
}

// resetsMax is how often a driver resets a card that moves next to no frames. The reset after
// that one is left out, and the card given up.
const resetsMax = 8

// TestDeadCard: a card that never works for long is given up. The console says so, shows the
// card without a carrier, and works; the memory that stays lent to the card is accounted for.
func TestDeadCard(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{Machine: n.machine, Card: n.card})
			peer.Ping(t, peer.Address4())
			// One that does nothing for a time, on a host that stands still, is reset too.
			const fate = `device is (reset|given up) device=.*the console asked for it`
			for asked := 1; asked <= resetsMax+1; asked++ {
				vm.Command(t, "fault reset-card")
				want := "reset"
				if asked > resetsMax {
					want = "given up"
				}
				if line := vm.Times(t, 0, fate, asked); line[1] != want {
					t.Fatalf("after %d faults: %q, want %q", asked, line[0], want)
				}
			}
			vm.Seen(t, "reset 8 times with fewer than 1024 frames between: the console asked for it")
			vm.Seen(t, "link down name=eth0")
			if text := vm.Command(t, "ip link"); !strings.Contains(text, ": eth0: <NO-CARRIER,") {
				t.Errorf("ip link does not show that the card is dead:\n%s", text)
			}
			if text := vm.Command(t, "help"); !strings.Contains(text, "poweroff") {
				t.Errorf("help printed:\n%s", text)
			}
			pings(t, vm, "127.0.0.1")         // the stack works without the card
			vm.Command(t, "fault reset-card") // which is nothing to a card that was given up
			powerOff(t, vm)
			if n := len(regexp.MustCompile(` device is reset .*the console asked for it`).FindAllString(vm.Output(), -1)); n != resetsMax {
				t.Errorf("the card was reset %d times, want %d", n, resetsMax)
			}
		})
	}
}
