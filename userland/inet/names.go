package inet

import (
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/socket"
)

// names asks the kernel for ports and flows: the machine's addresses belong to all
// its stacks. It implements socket.Names.
type names struct{ node *node }

var _ socket.Names = names{}

// claim is a flow as the kernel knows it. It implements socket.Measured.
type claim struct {
	flow, generation uint32
	mtu              atomic.Uint32
}

func newClaim(r *abi.FlowRequest) *claim {
	c := &claim{flow: r.Flow, generation: r.Generation}
	c.mtu.Store(r.MTU)
	return c
}

// MTU implements socket.Measured.
func (c *claim) MTU() int { return int(c.mtu.Load()) }

// ask makes a request. It is on the heap, as the kernel writes the answer there.
func (k names) ask(r *abi.FlowRequest) syscall.Errno {
	if k.node.link == nil {
		return syscall.ENETUNREACH
	}
	r.Channel = uint32(k.node.channel)
	switch e := control(abi.ControlFlow, unsafe.Pointer(r), unsafe.Sizeof(*r)); {
	case e <= -abi.FlowErrno:
		return syscall.Errno(-abi.FlowErrno - e)
	case e < 0:
		return syscall.EINVAL
	}
	return 0
}

// Bind implements socket.Names.
func (k names) Bind(protocol uint8, local netip.AddrPort, v6only, reuse bool) (netip.AddrPort, socket.Claim, syscall.Errno) {
	r := &abi.FlowRequest{Op: abi.FlowBind, Protocol: uint32(protocol), LocalPort: uint32(local.Port())}
	r.Local = local.Addr().As16()
	if local.Addr().Is6() && !v6only {
		r.Flags |= abi.FlowDual
	}
	if reuse {
		r.Flags |= abi.FlowReuse
	}
	if err := k.ask(r); err != 0 {
		return netip.AddrPort{}, nil, err
	}
	return netip.AddrPortFrom(local.Addr(), uint16(r.LocalPort)), newClaim(r), 0
}

// Listen implements socket.Names.
func (k names) Listen(right socket.Claim) syscall.Errno {
	c := right.(*claim)
	return k.ask(&abi.FlowRequest{Op: abi.FlowListen, Flow: c.flow, Generation: c.generation})
}

// Connect implements socket.Names.
func (k names) Connect(right socket.Claim, protocol uint8, remote netip.AddrPort) (netip.AddrPort, socket.Claim, syscall.Errno) {
	r := &abi.FlowRequest{Op: abi.FlowConnect, Protocol: uint32(protocol), RemotePort: uint32(remote.Port())}
	r.Remote = remote.Addr().As16()
	if c, ok := right.(*claim); ok {
		r.Flow, r.Generation = c.flow, c.generation
	}
	if err := k.ask(r); err != 0 {
		return netip.AddrPort{}, nil, err
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), uint16(r.LocalPort)), newClaim(r), 0
}

// Release implements socket.Names.
func (k names) Release(right socket.Claim) {
	c := right.(*claim)
	k.ask(&abi.FlowRequest{Op: abi.FlowClose, Flow: c.flow, Generation: c.generation})
}
