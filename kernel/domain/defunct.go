package domain

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain/pressure"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
)

// This file owns how channels lose their memory while their domains live, and get it
// again: by a person, when the machine has no memory left for domains, and when a domain
// is suspended.

// spare is how much is taken at once when a domain needs a little, and what must be left
// when a defunct channel gets memory again: else it would take back at once what another
// one was just given. In bytes.
const spare = 1 << 20

// errNoChannel says that a domain has no channel of a number.
var errNoChannel = errors.New("no such channel")

// defunct takes the memory of a channel back. Any goroutine may call it.
func (d *Domain) defunct(number int, cause string) error {
	began := clock.Since()
	freed, err := d.takeMemory(number)
	if err == nil {
		slog.Info("channel defunct", "domain", d.name, "channel", number, "cause", cause, "freed", freed, "us", (clock.Since() - began).Microseconds())
	}
	return err
}

// stalled takes the memory of a channel back that has kept it too long, as nobody takes
// what waits in it; not that of another channel which has its number meanwhile.
func (d *Domain) stalled(number int, c Channel) {
	d.channelsMu.Lock()
	same := d.channels[number] == c
	d.channelsMu.Unlock()
	if same {
		_ = d.defunct(number, "nobody takes what it sends") // a pinned one keeps its memory
	}
}

func (d *Domain) takeMemory(number int) (freed int, err error) {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	if number >= len(d.channels) || d.channels[number] == nil {
		return 0, errNoChannel
	}
	return d.channels[number].Defunct()
}

// networkChannels are the numbers of those of the network that work.
func (d *Domain) networkChannels() (list []int) {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	for i, c := range d.channels {
		if f, ok := c.(Flows); ok && f.Err() == nil {
			list = append(list, i)
		}
	}
	return list
}

// reopenChannel is ControlReopen.
func (d *Domain) reopenChannel(r *abi.OpenRequest) uint64 {
	if r.Channel >= abi.ChannelsMax || text(r.Pipe[:]) != "" || r.Watch != 0 {
		return result(abi.BadArgument)
	}
	number := int(r.Channel)
	old, ok := d.channels[number].(Flows)
	switch {
	case !ok:
		return result(abi.BadArgument)
	case !d.isDefunct(number):
		return result(abi.NotNow)
	}
	if first := arenaFirst(r); vm.Room() < first+spare || !d.memory.space.Holds(int(first)) {
		return result(abi.OverQuota)
	}
	// The new arena takes the place of what is left of the old one.
	old.Arena().Free()
	d.memory.windowAt(number).close(old.Arena().Range)
	c, refused := d.newChannel(number, r)
	if refused != 0 {
		return result(refused)
	}
	old.Close()
	d.setChannel(number, c)
	r.Base = d.memory.windowAt(number).base
	return r.Channel
}

// isDefunct says that the memory of a channel was taken back, and that this is done: its
// flows are gone too.
func (d *Domain) isDefunct(number int) bool {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	return d.channels[number].Err() == channel.ErrDefunct
}

// tellDefunct wakes the domain if it has a channel that is defunct: there may be memory
// for it again.
func (d *Domain) tellDefunct() {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	for i, c := range d.channels {
		if c != nil && c.Err() == channel.ErrDefunct {
			d.post(abi.EventChannel << i)
		}
	}
}

// relieve takes memory of idle channels back until a domain can have need bytes. It
// reports false, and takes nothing, when that cannot be.
func (m *Manager) relieve(need uint64) bool {
	m.pressure.Lock()
	defer m.pressure.Unlock()
	if vm.Room() >= need {
		return true // another domain has asked first
	}
	type place struct {
		d      *Domain
		number int
	}
	var places []place
	var list []pressure.Candidate
	now := clock.Since()
	for _, d := range m.present() {
		for _, i := range d.networkChannels() {
			if c, ok := d.candidate(i, now); ok {
				places, list = append(places, place{d, i}), append(list, c)
			}
		}
	}
	room := vm.Room()
	for _, i := range pressure.Pick(list, need-min(need, room), need+spare-min(need+spare, room)) {
		p := places[i]
		if err := p.d.defunct(p.number, "memory"); err != nil {
			slog.Debug("channel not taken", "domain", p.d.name, "channel", p.number, "reason", err)
		}
	}
	return vm.Room() >= need
}

// candidate describes a channel of the network.
func (d *Domain) candidate(number int, now time.Duration) (c pressure.Candidate, ok bool) {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	f, ok := d.channels[number].(Flows)
	if !ok || f.Err() != nil {
		return c, false
	}
	packets, rest := f.Memory()
	return pressure.Candidate{Memory: uint64(packets + rest), Idle: now - f.Used(), Pinned: d.config.Pinned}, true
}

// relieved tells domains without channel that there may be memory again.
func (m *Manager) relieved() {
	for _, d := range m.present() {
		d.tellDefunct()
	}
}

// Defunct implements shell.Domains.
func (m *Manager) Defunct(name string, number int) error {
	_, d, err := m.running(name)
	if err != nil {
		return err
	}
	numbers := []int{number}
	if number < 0 {
		if numbers = d.networkChannels(); len(numbers) == 0 {
			return fmt.Errorf("domain %s has no open channel of the network", name)
		}
	}
	for _, i := range numbers {
		switch err := d.defunct(i, "operator"); {
		case err == errNoChannel:
			return fmt.Errorf("domain %s has no channel %d: %s", name, i, d.channelList())
		case errors.Is(err, channel.ErrPinned):
			return fmt.Errorf("channel %d of domain %s is pinned, or the other end of its pipe is: that is in the manifest", i, name)
		case err != nil:
			return fmt.Errorf("channel %d of domain %s: %w", i, name, err)
		}
	}
	return nil
}

// channelList says which channels the domain has.
func (d *Domain) channelList() string {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	var list []int
	for i, c := range d.channels {
		if c != nil {
			list = append(list, i)
		}
	}
	if len(list) == 0 {
		return "it has none"
	}
	return fmt.Sprintf("it has %v", slices.Clip(list))
}
