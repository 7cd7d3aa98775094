package inet

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/socket"
)

// readNet copies the net page, at a moment when the kernel does not write it.
func readNet() abi.Net {
	page := (*abi.Net)(unsafe.Pointer(uintptr(abi.NetPage)))
	for {
		before := atomic.LoadUint64(&page.Sequence)
		var c abi.Net
		from := unsafe.Slice((*byte)(unsafe.Pointer(page)), unsafe.Sizeof(c))
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c)), from)
		if before%2 == 0 && atomic.LoadUint64(&page.Sequence) == before {
			return c
		}
		runtime.Gosched()
	}
}

// follow takes over what the net page says: addresses, MTU, routes and name
// servers.
func (n *node) follow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	page := readNet()
	if page.Generation == n.seen {
		return
	}
	n.seen = page.Generation
	wanted := map[tcpip.Address]int{}
	for _, a := range page.Addresses {
		if a.Used != 0 {
			wanted[address(a.IP)] = int(a.Prefix)
		}
	}
	for _, have := range n.stack.AllAddresses()[channelID] {
		// gVisor has the broadcast address among its own.
		a := have.AddressWithPrefix.Address
		if _, keep := wanted[a]; !keep && a != header.IPv4Broadcast {
			n.stack.RemoveAddress(channelID, have.AddressWithPrefix.Address)
		}
	}
	for a, prefix := range wanted {
		n.addAddress(channelID, a, prefix)
	}
	if page.MTU != 0 {
		n.stack.SetNICMTU(channelID, page.MTU)
	}
	n.routes(&page)
	var text bytes.Buffer
	for _, a := range page.DNS {
		if a != [16]byte{} {
			fmt.Fprintf(&text, "nameserver %s\n", netip.AddrFrom16(a).Unmap())
		}
	}
	resolvers(text.Bytes())
}

// noticed does what events of the channel ask for; with lost, some are missing.
func (n *node) noticed(s *socket.Stack, events []abi.Slot, lost bool) {
	changed, gone := lost, lost
	for _, e := range events {
		switch e.Kind {
		case abi.SlotLink:
			changed = true
		case abi.SlotAddress:
			changed, gone = true, true
		case abi.SlotMTU:
			n.names.SetMTU(e.Index, int(e.Length))
		}
	}
	if changed {
		n.follow()
		s.AddressesChanged()
	}
	if gone {
		page := readNet()
		s.AddressGone(func(a netip.Addr) bool {
			for _, have := range page.Addresses {
				if have.Used != 0 && netip.AddrFrom16(have.IP).Unmap() == a {
					return true
				}
			}
			return false
		})
	}
}

// address returns an address of the net page as gVisor has it.
func address(ip [16]byte) tcpip.Address {
	return tcpip.AddrFromSlice(netip.AddrFrom16(ip).Unmap().AsSlice())
}
