package domain

import (
	"fmt"
	"log/slog"
)

// A suspended domain has no turn: it stays where it is. The memory of its channels of the
// network, which it would not touch, is the machine's.

// suspend keeps the domain from its next turn on. It reports false when it is suspended
// already.
func (d *Domain) suspend() bool {
	resumed := make(chan struct{})
	return d.resumed.CompareAndSwap(nil, &resumed)
}

// goOn lets it go on. It reports false when it is not suspended.
func (d *Domain) goOn() bool {
	resumed := d.resumed.Swap(nil)
	if resumed == nil {
		return false
	}
	close(*resumed)
	return true
}

// suspended says whether it is.
func (d *Domain) suspended() bool { return d.resumed.Load() != nil }

// pause waits, before the domain runs on, while it is suspended, or until it must end. It
// reports whether it has waited.
func (d *Domain) pause() bool {
	resumed := d.resumed.Load()
	if resumed == nil {
		return false
	}
	d.leaveMemory() // of channels that it was about to open
	d.turn.Release()
	defer d.turn.Acquire()
	for {
		select {
		case <-*resumed:
			return true
		case <-d.wake: // events stay noted in the event page
			if d.doomed() {
				return true
			}
		}
	}
}

// pauseChannels tells all channels whether the domain is kept from running.
func (d *Domain) pauseChannels() {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	on := d.suspended()
	for _, c := range d.channels {
		if c != nil {
			c.Pause(on)
		}
	}
}

// leaveMemory takes the memory of a suspended domain's channels of the network back, but
// for what is pinned. What works no more by then is another's to end: the domain may be
// closing its channels, or have broken their rings.
func (d *Domain) leaveMemory() {
	for _, i := range d.networkChannels() {
		_ = d.defunct(i, "suspended")
	}
}

// Suspend implements shell.Domains.
func (m *Manager) Suspend(name string) error {
	_, d, err := m.running(name)
	if err != nil {
		return err
	}
	if !d.suspend() {
		return fmt.Errorf("domain %s is suspended already", name)
	}
	d.pauseChannels()
	slog.Info("domain suspended", "domain", name)
	d.leaveMemory()
	return nil
}

// Resume implements shell.Domains.
func (m *Manager) Resume(name string) error {
	_, d, err := m.running(name)
	if err != nil {
		return err
	}
	if !d.goOn() {
		return fmt.Errorf("domain %s is not suspended", name)
	}
	d.pauseChannels()
	slog.Info("domain resumed", "domain", name)
	return nil
}
