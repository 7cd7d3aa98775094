// This file owns the control queue (virtio 1.2, section 5.1.6.5).

package net

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Commands: the class in the upper byte, the command in the lower.
const (
	commandPromiscuous   = 0x0000
	commandAllMulticast  = 0x0001
	commandGuestOffloads = 0x0500

	controlOK = 0
)

// Where the parts of a command lie in the control memory. The acknowledgement is
// poisoned before each command, so that silence is not taken for success.
const (
	controlCommand = 0
	controlData    = 16
	controlAck     = 32
	controlBytes   = 64

	controlPoison = 0xff
)

const controlSegments = 3

// control belongs to Open and to the poller's reset.
type control struct {
	q      *virtio.Queue // nil without the feature
	memory hw.Memory
	// silent says that the device did not answer once. It is not asked again,
	// as it may still write to the control memory.
	silent bool
}

func (c *control) open(d *Device, mem *hw.DMA) error {
	if d.features&featureControl == 0 {
		return nil
	}
	var err error
	if c.q, err = virtio.NewQueue(d.t, queueControl, d.features, mem, 2*controlSegments, controlSegments); err != nil {
		return err
	}
	if c.memory, err = mem.Alloc(controlBytes, hw.Both); err != nil {
		return fmt.Errorf("memory for the control queue: %w", err)
	}
	return nil
}

func (c *control) free(mem *hw.DMA) {
	if c.memory.Bytes != nil {
		mem.Free(c.memory)
	}
	if c.q != nil {
		c.q.Close()
	}
}

// setReceiveMode asks for frames to this card and for all groups (neighbour
// discovery joins many), and for the offloads that were negotiated. A device
// that refuses or does not answer still works, as it started promiscuous.
func (c *control) setReceiveMode(d *Device) {
	if d.features&featureControlRx != 0 && d.features&featureMAC != 0 {
		// All groups first: between the two no frame may be lost.
		c.command(d, commandAllMulticast, []byte{1})
		c.command(d, commandPromiscuous, []byte{0})
	}
	// QEMU refuses the command on a back end without offloads, so that it is
	// left out when there is nothing to say.
	if offloads := d.features & guestOffloads; d.features&featureControlOffloads != 0 && offloads != 0 {
		c.command(d, commandGuestOffloads, binary.LittleEndian.AppendUint64(nil, offloads))
	}
}

// command sends one command and waits for its answer, at most ControlTimeout.
func (c *control) command(d *Device, command uint16, data []byte) {
	if c.q == nil || c.silent {
		return
	}
	b := c.memory.Bytes
	binary.BigEndian.PutUint16(b[controlCommand:], command)
	copy(b[controlData:controlAck], data)
	b[controlAck] = controlPoison
	bus := c.memory.Bus
	c.q.Add(uint32(command),
		virtio.Segment{Addr: bus + controlCommand, Len: 2},
		virtio.Segment{Addr: bus + controlData, Len: uint32(len(data))},
		virtio.Segment{Addr: bus + controlAck, Len: 1, Writable: true})
	c.q.Submit()
	deadline := d.cfg.Now().Add(d.cfg.ControlTimeout)
	for {
		if _, _, answered := c.q.Used(); answered {
			break
		}
		if d.checkQueue(c.q) {
			return
		}
		if d.cfg.Now().After(deadline) {
			c.silent = true
			d.counters.add(controlTimeouts, 1)
			d.cfg.Log.Warn("virtio-net control queue does not answer", "device", d.t.Location(), "command", fmt.Sprintf("%#04x", command), "timeout", d.cfg.ControlTimeout)
			return
		}
		runtime.Gosched()
	}
	if ack := b[controlAck]; ack != controlOK {
		d.counters.add(controlRefused, 1)
		d.cfg.Log.Warn("virtio-net device refused a control command", "device", d.t.Location(), "command", fmt.Sprintf("%#04x", command), "ack", ack)
	}
}
