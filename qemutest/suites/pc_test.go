package suites

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// TestPCs starts disks on machines that have more of a PC than others here: cards behind
// bridges, several processors, memory on both sides of the hole below 4 GiB, sticks that are
// larger than the image, by either kind of USB. The card has the name of its place, an address
// by DHCP, and carries an answer of HTTP.
func TestPCs(t *testing.T) {
	const (
		port   = "pcie-root-port,id=above,chassis=1,slot=1"
		bridge = "pcie-pci-bridge,id=above"
	)
	kernel := qemutest.Image(t, "pc") // without domains: QEMU reads slowly by EHCI
	for _, c := range []struct {
		name               string
		machine            string
		firmware, bus      string
		memory, processors int
		above              string // what the card is plugged into
		card, options      string
		place              string // of the card
		large              bool   // the stick is larger than the image
	}{
		{"port by BIOS", "q35", "bios", "usb", 256, 4, port, "e1000e", "bus=above", "01:00.0", true},
		{"port by UEFI", "q35", "uefi", "usb", 5 << 10, 1, port, "e1000e", "bus=above", "01:00.0", true},
		{"bridge by BIOS", "q35", "bios", "ehci", 5 << 10, 1, bridge, "e1000", "bus=above,addr=0x1", "01:01.0", true},
		{"bridge by UEFI", "q35", "uefi", "ide", 256, 4, bridge, "e1000", "bus=above,addr=0x1", "01:01.0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stick := diskOf(t, kernel, "raw", "nic=lan@"+c.place)
			if c.large {
				// The second partition table is not where such a disk ends.
				if err := os.Truncate(stick, 1<<30); err != nil {
					t.Fatal(err)
				}
			}
			vm := start(t, qemutest.Config{
				Machine: c.machine, Image: stick, Firmware: c.firmware, Bus: c.bus, Memory: c.memory,
				Card: c.card, CardOptions: c.options, Net: qemutest.UserNet, Forward: []string{"tcp/80"},
				Bridges: []string{c.above}, Extra: []string{"-smp", fmt.Sprint(c.processors)},
			})
			var processors []any
			vm.Execute(t, "query-cpus-fast", nil, &processors)
			if len(processors) != c.processors {
				t.Fatalf("the machine has %d processors, want %d", len(processors), c.processors)
			}
			vm.Times(t, 0, `network interface name=lan driver=e1000 at="pci `+c.place+`"`, 1)
			vm.Seen(t, "dhcp: address acquired")
			vm.Seen(t, "ready")
			if got := get(t, http.DefaultClient, "http://"+vm.Forwarded(t, "tcp/80")+"/healthz"); got != "ok\n" {
				t.Errorf("/healthz says %q, want ok", got)
			}
			powerOff(t, vm)
		})
	}
}
