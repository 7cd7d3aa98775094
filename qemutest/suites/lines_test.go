package suites

import (
	"fmt"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// TestLinesOfPCI boots machines with a card that signals no messages: its line is what ACPI's
// _PRT names, else what firmware has noted in the card, or it is polled. Each way the card
// serves, moves 20 MiB both ways, and tells when its cable is pulled.
func TestLinesOfPCI(t *testing.T) {
	for _, c := range []struct{ name, machine, options, mark string }{
		// QEMU's first card of q35 is in slot 1, whose pin A is PIRQ F: interrupt 21.
		{"table", "q35", "", `line of PCI device="pci 00:01.0" interrupt=21 by=_PRT`},
		{"register", "pc", "", `line of PCI device="pci 00:02.0" interrupt=(10|11) by="interrupt line register"`},
		{"timer", "q35", "intx=off", `no interrupt of the device is heard: a timer looks after it device="pci 00:01.0" every=1ms reason="?intx=off`},
	} {
		t.Run(c.name, func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{
				Machine: c.machine, Card: "e1000", Memory: 192, Append: c.options,
				Image: imageWith(t, "pc", serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")),
			})
			vm.Seen(t, "server: serving")
			vm.Times(t, 0, c.mark, 1)
			if c.name == "register" {
				vm.Times(t, 0, `no _PRT can be read: if the device is not heard by that line, intx=off has a timer look after it`, 1)
			}
			host, client := peer.Address4(), peer.HTTP()
			peer.Ping(t, host)
			takes(t, client, url(host, fmt.Sprintf("/bytes/%d", transferSize)))
			givesThrough(t, client, url(host, "/sum"), func() {
				vm.SetLink(t, false)
				vm.Expect(t, "link down name=eth0")
				vm.SetLink(t, true)
				vm.Expect(t, "link up name=eth0")
			})
			powerOff(t, vm)
		})
	}
}
