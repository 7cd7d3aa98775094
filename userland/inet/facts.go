package inet

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/sluice-os/sluice/nexus/abi"
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
		if _, keep := wanted[have.AddressWithPrefix.Address]; !keep {
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

// address returns an address of the net page as gVisor has it.
func address(ip [16]byte) tcpip.Address {
	return tcpip.AddrFromSlice(netip.AddrFrom16(ip).Unmap().AsSlice())
}
