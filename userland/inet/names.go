package inet

import (
	"net/netip"
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

// names asks the kernel for ports and flows: the machine's addresses belong to all
// its stacks. It implements socket.Names.
type names struct{ node *node }

// claim is a flow as the kernel knows it.
type claim struct{ flow, generation uint32 }

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

func (k names) bind(protocol uint8, local netip.AddrPort, v6only, reuse bool) (netip.AddrPort, *claim, syscall.Errno) {
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
	return netip.AddrPortFrom(local.Addr(), uint16(r.LocalPort)), &claim{r.Flow, r.Generation}, 0
}

func (k names) listen(c *claim) syscall.Errno {
	return k.ask(&abi.FlowRequest{Op: abi.FlowListen, Flow: c.flow, Generation: c.generation})
}

func (k names) connect(c *claim, protocol uint8, remote netip.AddrPort) (netip.AddrPort, *claim, syscall.Errno) {
	r := &abi.FlowRequest{Op: abi.FlowConnect, Protocol: uint32(protocol), RemotePort: uint32(remote.Port())}
	r.Remote = remote.Addr().As16()
	if c != nil {
		r.Flow, r.Generation = c.flow, c.generation
	}
	if err := k.ask(r); err != 0 {
		return netip.AddrPort{}, nil, err
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), uint16(r.LocalPort)), &claim{r.Flow, r.Generation}, 0
}

func (k names) release(c *claim) {
	k.ask(&abi.FlowRequest{Op: abi.FlowClose, Flow: c.flow, Generation: c.generation})
}
