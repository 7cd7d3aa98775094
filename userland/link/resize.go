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
	if err := e.channel.Load().Resize(kind, ask); err != nil {
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
	return e.channel.Load().Rings()
}

// Stats returns the channel's statistics.
func (e *Endpoint) Stats() abi.Stats { return e.channel.Load().Stats() }

// Slots returns how many slots the rings have, or had when the channel became defunct.
func (e *Endpoint) Slots() [abi.RingKinds]uint32 { return e.channel.Load().Slots() }
