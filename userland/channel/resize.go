package channel

import "github.com/sluice-os/sluice/nexus/abi"

// Resize has the kernel give a ring other slots: ask makes the request, and what it
// returns is returned. With an error the ring is as it was. What waits in the ring goes
// with it. Resize must not be called concurrently with Receive for abi.RingRx, with
// Send for abi.RingTx, and with itself.
func (c *Channel) Resize(kind int, ask func() error) error {
	if kind == abi.RingAlloc || kind == abi.RingFree {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	switch kind {
	case abi.RingAlloc:
		c.collect() // a smaller ring need not hold it
	case abi.RingFree:
		c.rings[kind].publish()
		c.notify() // likewise
	}
	// What else was filled so far is the kernel's to carry over.
	c.rings[kind].publish()
	if err := ask(); err != nil {
		return err
	}
	c.attach(kind)
	return nil
}
