// Package names keeps what a domain's sockets have of the kernel: ports and flows, which
// belong to a channel. When that is defunct, Renew asks for them again, so that sockets
// which wait for connections or datagrams need not know.
package names

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/socket"
)

// Names implements socket.Names. Its methods may be called concurrently.
type Names struct {
	// kernel makes a request in the channel that is open now; ENXIO says that it is
	// defunct.
	kernel func(*abi.FlowRequest) syscall.Errno

	// gate is held by who makes requests for reading, and by Renew.
	gate sync.RWMutex
	// mu guards what follows. It comes after gate.
	mu       sync.Mutex
	claims   map[*claim]struct{}
	attempts int       // to renew, that have ended
	failed   bool      // the last one has failed
	ended    sync.Cond // of attempts
}

var _ socket.Names = (*Names)(nil)

// New makes a Names for a domain that has nothing yet.
func New(kernel func(*abi.FlowRequest) syscall.Errno) *Names {
	n := &Names{kernel: kernel, claims: map[*claim]struct{}{}}
	n.ended.L = &n.mu
	return n
}

// claim is a port or a flow, and how it came about. It belongs to one socket, which uses
// it in one call at a time, and to Renew. It implements socket.Measured.
type claim struct {
	mtu      atomic.Uint32
	protocol uint8
	local    netip.AddrPort
	flags    uint32
	listens  bool
	remote   netip.AddrPort // valid: it is connected
	groups   []netip.Addr
	// flow and generation are the kernel's names for it; 0: it has none.
	flow, generation uint32
	over             bool // a connection of a channel that is defunct
}

// MTU implements socket.Measured.
func (c *claim) MTU() int { return int(c.mtu.Load()) }

// gave takes over what the kernel has answered.
func (c *claim) gave(r *abi.FlowRequest) {
	c.flow, c.generation = r.Flow, r.Generation
	c.mtu.Store(r.MTU)
}

// stream says that the claim is a connection of TCP, which cannot be had again.
func (c *claim) stream() bool { return c.protocol == syscall.IPPROTO_TCP && c.remote.IsValid() }

// ask makes a request about a claim, or about none (nil). One that finds the channel
// defunct waits for the next one.
func (n *Names) ask(c *claim, r *abi.FlowRequest, done func()) syscall.Errno {
	for {
		n.gate.RLock()
		n.mu.Lock()
		attempt := n.attempts
		n.mu.Unlock()
		err := syscall.Errno(syscall.ENETDOWN) // the kernel knows nothing of it
		if c == nil || c.flow != 0 {
			if c != nil {
				r.Flow, r.Generation = c.flow, c.generation
			}
			err = n.kernel(r)
		}
		if err == 0 {
			done()
		}
		n.gate.RUnlock()
		if err != syscall.ENXIO || c != nil && c.over {
			return err
		}
		if !n.await(attempt) {
			return syscall.ENETDOWN
		}
	}
}

// await waits for the end of the attempt to renew that follows a number of them, and
// reports whether it has succeeded. When the last one has failed it does not wait.
func (n *Names) await(attempt int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.attempts == attempt && !n.failed {
		n.ended.Wait()
	}
	return !n.failed
}

// add notes a claim that the kernel has just given.
func (n *Names) add(c *claim, r *abi.FlowRequest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.gave(r)
	n.claims[c] = struct{}{}
}

// Bind implements socket.Names.
func (n *Names) Bind(protocol uint8, local netip.AddrPort, v6only, reuse bool) (netip.AddrPort, socket.Claim, syscall.Errno) {
	c := &claim{protocol: protocol, local: local}
	if local.Addr().Is6() && !v6only {
		c.flags |= abi.FlowDual
	}
	if reuse {
		c.flags |= abi.FlowReuse
	}
	r := c.bind()
	err := n.ask(nil, r, func() {
		c.local = netip.AddrPortFrom(local.Addr(), uint16(r.LocalPort))
		n.add(c, r)
	})
	if err != 0 {
		return netip.AddrPort{}, nil, err
	}
	return c.local, c, 0
}

// bind is the request for a claim without a peer. It is on the heap, as the kernel writes
// the answer there.
func (c *claim) bind() *abi.FlowRequest {
	return &abi.FlowRequest{
		Op: abi.FlowBind, Protocol: uint32(c.protocol), Flags: c.flags,
		Local: c.local.Addr().As16(), LocalPort: uint32(c.local.Port()),
	}
}

// Listen implements socket.Names.
func (n *Names) Listen(right socket.Claim) syscall.Errno {
	c := right.(*claim)
	return n.ask(c, &abi.FlowRequest{Op: abi.FlowListen}, func() { c.listens = true })
}

// Connect implements socket.Names.
func (n *Names) Connect(right socket.Claim, protocol uint8, remote netip.AddrPort) (netip.AddrPort, socket.Claim, syscall.Errno) {
	c, bound := right.(*claim)
	if !bound {
		c = nil
	}
	r := connect(protocol, remote)
	err := n.ask(c, r, func() {
		local := netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), uint16(r.LocalPort))
		if c == nil {
			c = &claim{protocol: protocol, local: local}
		}
		c.remote = remote
		n.add(c, r)
	})
	if err != 0 {
		return netip.AddrPort{}, nil, err
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), uint16(r.LocalPort)), c, 0
}

func connect(protocol uint8, remote netip.AddrPort) *abi.FlowRequest {
	return &abi.FlowRequest{
		Op: abi.FlowConnect, Protocol: uint32(protocol), Remote: remote.Addr().As16(), RemotePort: uint32(remote.Port()),
	}
}

// Join implements socket.Names.
func (n *Names) Join(right socket.Claim, group netip.Addr) syscall.Errno {
	c := right.(*claim)
	return n.ask(c, &abi.FlowRequest{Op: abi.FlowJoin, Remote: group.As16()}, func() { c.groups = append(c.groups, group) })
}

// Leave implements socket.Names.
func (n *Names) Leave(right socket.Claim, group netip.Addr) {
	c := right.(*claim)
	n.gate.RLock()
	defer n.gate.RUnlock()
	if i := slices.Index(c.groups, group); i >= 0 {
		c.groups = slices.Delete(c.groups, i, i+1)
	}
	if c.flow != 0 {
		n.kernel(&abi.FlowRequest{Op: abi.FlowLeave, Flow: c.flow, Generation: c.generation, Remote: group.As16()})
	}
}

// Release implements socket.Names.
func (n *Names) Release(right socket.Claim) {
	c := right.(*claim)
	n.gate.RLock()
	defer n.gate.RUnlock()
	n.mu.Lock()
	delete(n.claims, c)
	n.mu.Unlock()
	if c.flow != 0 {
		// Of a channel that is defunct the kernel has nothing any more.
		n.kernel(&abi.FlowRequest{Op: abi.FlowClose, Flow: c.flow, Generation: c.generation})
	}
}

// SetMTU notes the longest packet to the peer of a flow, in bytes.
func (n *Names) SetMTU(flow uint32, mtu int) {
	n.gate.RLock()
	defer n.gate.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.claims {
		if c.flow == flow {
			c.mtu.Store(uint32(mtu))
		}
	}
}

// Over implements socket.Names.
func (n *Names) Over(right socket.Claim) bool {
	c := right.(*claim)
	n.gate.RLock()
	defer n.gate.RUnlock()
	return c.over
}
