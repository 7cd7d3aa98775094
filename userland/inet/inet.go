// Package inet gives a program in a domain its network: gVisor's stack on a
// channel of the kernel's nexus, and Linux' sockets on that. The builder puts it
// into the standard library as internal/sluice/inet, where package net imports
// it. Nothing is set up before the first socket.
package inet

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/sluice-os/sluice/userland/posix"
	"github.com/sluice-os/sluice/userland/rt"
	"github.com/sluice-os/sluice/userland/socket"
)

// network is the domain's, from its first socket on.
var network = sync.OnceValue(newNode)

// sockets makes sockets on it.
var sockets = sync.OnceValue(func() *socket.Stack {
	n := network()
	s := &socket.Stack{Net: n.stack}
	if n.link != nil { // else all ports are free: there is nobody else
		s.Names, s.Full = n.names, n.link.Congested
	}
	n.start(s)
	made.Store(s)
	return s
})

// made is what sockets returns, as soon as something has asked for a socket.
var made atomic.Pointer[socket.Stack]

func init() {
	rt.Process.Links = links
	posix.RegisterSockets(func(_ *posix.Process, domain, kind, protocol int) (posix.Socket, syscall.Errno) {
		return sockets().Socket(domain, kind, protocol)
	})
}

// resolvers writes the file that names the machine's name servers.
func resolvers(text []byte) { rt.Files.AddFile("/etc/resolv.conf", text, 0o444) }

// links describes the interfaces.
func links() []posix.Link {
	n := network()
	list := []posix.Link{{Index: int(loopbackID), Name: "lo", MTU: 65536, Loopback: true, Up: true}}
	if n.link != nil {
		n.follow() // nobody else does before the first socket
		page := readNet()
		list = append(list, posix.Link{
			Index: int(channelID), Name: "eth0", MTU: int(n.link.MTU()), MAC: page.MAC[:], Up: page.Up != 0,
		})
	}
	all := n.stack.AllAddresses()
	for i := range list {
		for _, a := range all[tcpip.NICID(list[i].Index)] {
			ip, ok := netip.AddrFromSlice(a.AddressWithPrefix.Address.AsSlice())
			// gVisor has the broadcast address among its own.
			if ok && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && !ip.IsMulticast() {
				list[i].Addresses = append(list[i].Addresses, netip.PrefixFrom(ip, a.AddressWithPrefix.PrefixLen))
			}
		}
	}
	for i := range list {
		slices.SortFunc(list[i].Addresses, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	}
	return list
}
