// Package suites boots Sluice images in QEMU and looks at them from outside: by
// the wire, the console and QEMU's control socket.
package suites

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// all asks for the full product of every table, not only for every pair.
var all = os.Getenv("SLUICE_ALL") != ""

// slots bounds how many machines run at a time: under emulation each keeps one
// core busy.
var slots = make(chan struct{}, 2)

// start boots a machine when there is a slot for it. It makes the test
// parallel; a test starts one machine.
func start(t *testing.T, c qemutest.Config) *qemutest.VM {
	t.Helper()
	t.Parallel()
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
	return qemutest.Start(t, c)
}

// startWithPeer boots a machine on a raw wire and waits until the peer's DHCP
// server has given it an address.
func startWithPeer(t *testing.T, c qemutest.Config) (*qemutest.VM, *qemutest.Peer) {
	t.Helper()
	c.Net = qemutest.RawWire
	vm := start(t, c)
	peer := vm.Peer(t, qemutest.PeerConfig{})
	vm.Seen(t, "dhcp: address acquired")
	return vm, peer
}

// dialer connects to the machine.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// dial connects or fails the test. The connection ends with the machine.
func dial(t *testing.T, vm *qemutest.VM, d dialer, network, address string) net.Conn {
	t.Helper()
	c, err := d(vm.Context(), network, address)
	if err != nil {
		t.Fatalf("%s %s: %v", network, address, err)
	}
	if end, ok := vm.Context().Deadline(); ok {
		c.SetDeadline(end)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// machines are the QEMU machines of the tables.
var machines = []string{"microvm", "q35", "pc"}

// boards are one machine for each board, for what differs by board only.
var boards = []string{"microvm", "q35"}

// nic is a network card in a machine.
type nic struct{ machine, card string }

func (n nic) String() string { return n.machine + "/" + n.card }

// nics holds every network card by every transport, for what each of them has to do; with
// SLUICE_ALL every card on every machine of the tables that takes it.
var nics = func() []nic {
	if !all {
		return []nic{
			{"microvm", qemu.CardVirtIO}, {"q35", qemu.CardVirtIO},
			{"pc", "e1000"}, {"pc", "e1000-82545em"}, {"q35", "e1000e"},
		}
	}
	list := []nic{{"microvm", qemu.CardVirtIO}}
	for _, machine := range []string{"q35", "pc"} {
		for _, card := range qemu.Cards {
			list = append(list, nic{machine, card})
		}
	}
	return list
}()

// withMachines adds virtio's card on each machine of the tables to a table of cards.
func withMachines(list []nic) []nic {
	list = slices.Clone(list)
	for _, machine := range machines {
		if n := (nic{machine, qemu.CardVirtIO}); !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// TestNICsHoldEveryCard: the table has each card that there is a driver for, and virtio's over
// both transports.
func TestNICsHoldEveryCard(t *testing.T) {
	for _, card := range qemu.Cards {
		if !slices.ContainsFunc(nics, func(n nic) bool { return n.card == card }) {
			t.Errorf("%s is on no machine", card)
		}
	}
	for _, machine := range boards {
		if !slices.Contains(nics, nic{machine, qemu.CardVirtIO}) {
			t.Errorf("virtio's card is not on %s", machine)
		}
	}
}

// addPairs adds every two of a case's values to a set.
func addPairs(set map[string]bool, values ...string) {
	for i := range values {
		for j := range i {
			set[values[j]+", "+values[i]] = true
		}
	}
}

// holdsAll fails the test unless a set of pairs has all that are wanted.
func holdsAll(t *testing.T, got, want map[string]bool) {
	t.Helper()
	for pair := range want {
		if !got[pair] {
			t.Errorf("%s: not tried", pair)
		}
	}
}

// url returns the address of a page of the machine.
func url(addr netip.Addr, path string) string {
	return "http://" + qemutest.HostPort(addr, 80) + path
}
