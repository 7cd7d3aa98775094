package link

import (
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
)

// Resize has a ring of the channel changed: see channel.Channel.Resize. What is sent
// and received meanwhile waits.
func (e *Endpoint) Resize(kind int, ask func() error) error {
	e.rx.Lock()
	defer e.rx.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flush()
	if err := e.channel.Resize(kind, ask); err != nil {
		return err
	}
	// There may be room for what waits, and something for the receiver.
	e.retry()
	e.flush()
	return nil
}

// Rings describes the channel's rings.
func (e *Endpoint) Rings() [abi.RingKinds]channel.Ring {
	e.rx.Lock()
	defer e.rx.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.channel.Rings()
}

// Stats returns the channel's statistics.
func (e *Endpoint) Stats() abi.Stats { return e.channel.Stats() }
