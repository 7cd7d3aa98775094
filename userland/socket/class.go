package socket

import (
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/sluice-os/sluice/nexus/abi"
)

// This file owns SO_PRIORITY (socket(7)): the service class of what a socket sends. gVisor knows
// nothing of it, but gives each packet the owner of its endpoint, which says it to the link.

// priorityMost is the highest priority: Linux' TC_PRIO_CONTROL.
const priorityMost = 7

// priorityClasses are the classes of priorities, as Linux' TC_PRIO_FILLER (1), BULK (2),
// INTERACTIVE_BULK (4), INTERACTIVE (6) and CONTROL (7) mean them (linux/pkt_sched.h). The others
// have none: the DSCP counts, and without one it is best effort.
var priorityClasses = [priorityMost + 1]uint32{
	1: abi.ClassBackground, 2: abi.ClassBackground, 4: abi.ClassStreaming, 6: abi.ClassInteractive, 7: abi.ClassControl,
}

// owner is who has packets sent: a socket. It implements link.Classed. A nil one has chosen
// nothing.
type owner struct{ priority atomic.Int32 }

var _ tcpip.PacketOwner = (*owner)(nil)

// KUID and KGID implement tcpip.PacketOwner: there is one user.
func (o *owner) KUID() uint32 { return 0 }
func (o *owner) KGID() uint32 { return 0 }

// Priority is what SO_PRIORITY was set to.
func (o *owner) Priority() int {
	if o == nil {
		return 0
	}
	return int(o.priority.Load())
}

// Class implements link.Classed.
func (o *owner) Class() uint32 { return priorityClasses[o.Priority()] }

// setPriority sets SO_PRIORITY. A raw socket's has no effect.
func (k *sock) setPriority(n int) syscall.Errno {
	if n < 0 || n > priorityMost {
		return syscall.EPERM
	}
	if k.owner != nil {
		k.owner.priority.Store(int32(n))
	}
	return 0
}

// inherit gives a connection that was accepted the priority of its listener, and an owner of its
// own, as gVisor has given it the listener's.
func (k *sock) inherit(listener *sock) {
	k.owner = &k.own
	k.owner.priority.Store(int32(listener.owner.Priority()))
	if ep, ok := k.ep.(*tcp.Endpoint); ok {
		ep.LockUser() // it may be sending
		defer ep.UnlockUser()
	}
	k.ep.SetOwner(k.owner)
}
