package socket

import (
	"net/netip"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// all are the sockets of a stack that are open.
type all struct {
	mu      sync.Mutex
	sockets map[*sock]bool
}

func (a *all) add(k *sock) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sockets == nil {
		a.sockets = map[*sock]bool{}
	}
	a.sockets[k] = true
}

func (a *all) remove(k *sock) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sockets, k)
}

func (a *all) list() []*sock {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*sock, 0, len(a.sockets))
	for k := range a.sockets {
		list = append(list, k)
	}
	return list
}

// Claims calls f for each claim that a socket has.
func (s *Stack) Claims(f func(Claim)) {
	for _, k := range s.all.list() {
		k.mu.Lock()
		claim := k.claim
		k.mu.Unlock()
		if claim != nil {
			f(claim)
		}
	}
}

// AddressGone ends what is bound to an address that has says is not the machine's:
// connections with ECONNABORTED, also those that nobody has accepted yet, other sockets
// with EADDRNOTAVAIL.
func (s *Stack) AddressGone(has func(netip.Addr) bool) {
	var ended []*sock
	for _, k := range s.all.list() {
		if !k.lost(has) {
			continue
		}
		why := syscall.EADDRNOTAVAIL
		if k.protocol == syscall.IPPROTO_TCP {
			if _, err := k.Peer(); err == 0 {
				why = syscall.ECONNABORTED
			}
		}
		k.gone.Store(int32(why))
		ended = append(ended, k)
	}
	// What one of them says at its end another may hear.
	for _, k := range ended {
		k.ep.Abort()
		k.wq.Notify(waiter.ReadableEvents | waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	}
	for _, e := range s.Net.RegisteredEndpoints() {
		if ep, ok := e.(tcpip.Endpoint); ok && lost(ep, has) {
			ep.Abort()
		}
	}
}

func (k *sock) lost(has func(netip.Addr) bool) bool {
	if k.kind != syscall.SOCK_RAW {
		return lost(k.ep, has)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return gone(k.local, has)
}

// lost says whether an endpoint is bound to an address that is not there.
func lost(ep tcpip.Endpoint, has func(netip.Addr) bool) bool {
	a, err := ep.GetLocalAddress()
	if err != nil {
		return false
	}
	local, ok := netip.AddrFromSlice(a.Addr.AsSlice())
	if !ok {
		return false // any
	}
	return gone(local.Unmap(), has)
}

func gone(local netip.Addr, has func(netip.Addr) bool) bool {
	return !local.IsUnspecified() && !local.IsMulticast() && !private(local) && !has(local)
}

// over is the error of a socket whose address has gone; 0: it has not.
func (k *sock) over() syscall.Errno { return syscall.Errno(k.gone.Load()) }
