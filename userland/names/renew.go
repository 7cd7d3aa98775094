package names

import (
	"syscall"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Renew puts another channel in the place of one that is defunct. Connections are over:
// end is called when they are known to be, to tell their sockets. Then open opens the
// channel, and the kernel is asked for all other claims again, each with the port that it
// had. What waits for the channel goes on then. The error is open's.
func (n *Names) Renew(end func(), open func() error) error {
	n.gate.Lock()
	for c := range n.claims {
		c.flow = 0
		c.over = c.stream()
	}
	end()
	err := open()
	if err == nil {
		n.again() // what is refused is Missing
	}
	n.gate.Unlock()
	n.mu.Lock()
	n.attempts++
	n.failed = err != nil
	n.ended.Broadcast()
	n.mu.Unlock()
	return err
}

// Missing asks again for the claims that the kernel has refused to renew, and returns how
// many it still refuses: their ports are others' meanwhile, or their addresses are not
// the machine's.
func (n *Names) Missing() int {
	n.gate.Lock()
	defer n.gate.Unlock()
	return n.again()
}

// again asks for all claims that the kernel knows nothing of, and returns how many it
// refuses. gate is held.
func (n *Names) again() (missing int) {
	for c := range n.claims {
		if c.flow == 0 && !c.over && n.renew(c) != 0 {
			missing++
		}
	}
	return missing
}

// renew asks for one.
func (n *Names) renew(c *claim) syscall.Errno {
	r := c.bind()
	err := n.kernel(r)
	if err != 0 {
		return err
	}
	flow, generation := r.Flow, r.Generation
	switch {
	case c.listens:
		err = n.kernel(&abi.FlowRequest{Op: abi.FlowListen, Flow: flow, Generation: generation})
	case c.remote.IsValid():
		r = connect(c.protocol, c.remote)
		r.Flow, r.Generation = flow, generation
		err = n.kernel(r)
	}
	for i := 0; i < len(c.groups) && err == 0 && !c.remote.IsValid(); i++ {
		err = n.kernel(&abi.FlowRequest{Op: abi.FlowJoin, Flow: flow, Generation: generation, Remote: c.groups[i].As16()})
	}
	if err != 0 {
		n.kernel(&abi.FlowRequest{Op: abi.FlowClose, Flow: flow, Generation: generation})
		return err
	}
	c.gave(r)
	return 0
}
