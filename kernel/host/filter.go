package host

// What groups the card is told to take frames to: those that the host stack is in, those of
// domains, and those of protocols that are not on IP. A card may let others through: who a frame
// is for is looked at again behind it.

import (
	"bytes"
	"net/netip"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
)

// groupFilter knows the groups. Its methods may be called concurrently, and with locks of gVisor's
// held.
type groupFilter struct {
	card nic.GroupFilter // nil: the card takes all

	mu      sync.Mutex
	started bool
	groups  map[[6]byte]int // by how many each is asked for
	// addresses are those of IPv6 whose solicited-node group is among groups.
	addresses map[netip.Addr]struct{}
	all       int // by how many any group is asked for
}

// newGroupFilter returns the filter of a card. All stations of IPv4 and all of IPv6 are always
// taken (RFC 1112, section 4; RFC 4291, section 2.8).
func newGroupFilter(dev nic.Device) *groupFilter {
	f := &groupFilter{groups: map[[6]byte]int{}, addresses: map[netip.Addr]struct{}{}}
	f.card, _ = dev.(nic.GroupFilter)
	f.ask(netip.AddrFrom4([4]byte(header.IPv4AllSystems.AsSlice())), 1)
	f.ask(netip.AddrFrom16([16]byte(header.IPv6AllNodesMulticastAddress.AsSlice())), 1)
	return f
}

// start tells the card. Before, it takes all.
func (f *groupFilter) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started = true
	f.tell()
}

// ask asks for a group once more, or with -1 once less.
func (f *groupFilter) ask(group netip.Addr, by int) { f.askLink(multicastMAC(group), by) }

// askLink is ask for a group's link address.
func (f *groupFilter) askLink(mac [6]byte, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(mac, by)
}

// address says whether the machine has an address, or is about to ask whether another has it. One
// of IPv6 is asked for by its solicited-node group (RFC 4861, section 7.2.1): the card takes that
// before the address is used.
func (f *groupFilter) address(a netip.Addr, has bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, had := f.addresses[a]; had == has || !a.Is6() {
		return
	}
	by := -1
	if delete(f.addresses, a); has {
		f.addresses[a] = struct{}{}
		by = 1
	}
	f.change(multicastMAC(fromAddress(header.SolicitedNodeAddr(toAddress(a)))), by)
}

// any asks for all groups, or with false no longer. Each true has its false.
func (f *groupFilter) any(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on {
		f.all++
	} else {
		f.all--
	}
	if on && f.all == 1 || f.all == 0 {
		f.tell()
	}
}

// change changes by how many a group is asked for. f.mu is held.
func (f *groupFilter) change(mac [6]byte, by int) {
	before := f.groups[mac]
	if f.groups[mac] += by; f.groups[mac] <= 0 {
		delete(f.groups, mac)
	}
	if (before > 0) != (f.groups[mac] > 0) {
		f.tell()
	}
}

// tell tells the card. f.mu is held.
func (f *groupFilter) tell() {
	if f.card != nil && f.started {
		f.card.SetGroups(f.list(), f.all > 0)
	}
}

// list returns the groups, in order. f.mu is held.
func (f *groupFilter) list() [][6]byte {
	list := make([][6]byte, 0, len(f.groups))
	for g := range f.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b [6]byte) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// names returns the groups that are asked for, and whether the card takes others too.
func (f *groupFilter) names() (list []string, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.list() {
		list = append(list, formatMAC(g[:]))
	}
	return list, f.card == nil || !f.started || f.all > 0
}

// multicastMAC returns the link address of a group (RFC 1112, section 6.4; RFC 2464, section 7).
func multicastMAC(group netip.Addr) [6]byte {
	if group.Is4() {
		b := group.As4()
		return [6]byte{0x01, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	b := group.As16()
	return [6]byte{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// AllGroups has the card take frames to any group, or with false no longer: somebody watches it.
// Each true has its false.
func (s *Stack) AllGroups(on bool) { s.link.filter.any(on) }
