package monitor

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
)

var (
	// watching is held by who changes what is watched, and guards what follows. It
	// comes before all locks of channels and monitors.
	watching sync.Mutex
	// channels are the points of those that are watched.
	channels = map[*channel.Channel]*Point{}
	// monitors are the channels of monitors that are open.
	monitors = map[*channel.Channel]bool{}
)

// Point is where packets pass: a channel, or a network interface.
type Point struct {
	id      uint32
	kind    uint16
	channel *channel.Channel // nil: of an interface
	// watchers is replaced as a whole; nil: nobody watches.
	watchers atomic.Pointer[[]watcher]
	changed  func(watched bool) // nil: nobody hears of it
}

// watcher is a monitor at a point.
type watcher struct {
	*Monitor
	direction Direction
}

// NewPoint makes the point of a network interface, which calls its Packet and Flush. changed
// is called, before the first packet is recorded, when somebody watches, and when nobody does any
// more; it must not block.
func NewPoint(netif uint32, changed func(watched bool)) *Point {
	return &Point{id: netif, kind: abi.RecordNetif, changed: changed}
}

// Watched says that somebody watches: without, Packet does nothing.
func (p *Point) Watched() bool { return p.watchers.Load() != nil }

// Packet implements channel.Tap.
func (p *Point) Packet(sent bool, length int, pieces [][]byte) {
	list := p.watchers.Load()
	if list == nil {
		return
	}
	direction := Rx
	if sent {
		direction = Tx
	}
	for _, w := range *list {
		if w.direction&direction != 0 {
			w.capture(p, direction, length, pieces)
		}
	}
}

// Flush implements channel.Tap: each monitor's domain is told once of a batch.
func (p *Point) Flush() {
	if list := p.watchers.Load(); list != nil {
		for _, w := range *list {
			w.channel.Flush()
		}
	}
}

// Watched says that somebody watches a channel.
func Watched(c *channel.Channel) bool {
	watching.Lock()
	defer watching.Unlock()
	return channels[c] != nil
}

// Watch records what passes a channel from now on. Watching again changes the direction.
// It fails with ErrDirection, ErrMonitor and channel.ErrClosed.
func (m *Monitor) Watch(c *channel.Channel, d Direction) error {
	watching.Lock()
	defer watching.Unlock()
	if monitors[c] {
		return ErrMonitor
	}
	p := channels[c]
	if p == nil {
		p = &Point{id: c.ID, kind: abi.RecordChannel, channel: c}
	}
	return p.add(m, d)
}

// WatchPoint records what passes a network interface.
func (m *Monitor) WatchPoint(p *Point, d Direction) error {
	watching.Lock()
	defer watching.Unlock()
	return p.add(m, d)
}

// Unwatch ends Watch. A packet that passes meanwhile may still be recorded.
func (m *Monitor) Unwatch(c *channel.Channel) {
	watching.Lock()
	defer watching.Unlock()
	if p := channels[c]; p != nil {
		p.remove(m)
	}
}

// UnwatchPoint ends WatchPoint.
func (m *Monitor) UnwatchPoint(p *Point) {
	watching.Lock()
	defer watching.Unlock()
	p.remove(m)
}

// Forget ends the watching of a channel by all monitors, when it closes.
func Forget(c *channel.Channel) {
	watching.Lock()
	defer watching.Unlock()
	if p := channels[c]; p != nil {
		for _, w := range p.list() {
			p.remove(w.Monitor)
		}
	}
}

// list returns the watchers.
func (p *Point) list() []watcher {
	if list := p.watchers.Load(); list != nil {
		return *list
	}
	return nil
}

// add has a monitor watch, once. watching is held.
func (p *Point) add(m *Monitor, d Direction) error {
	if d == 0 || d&^Both != 0 {
		return ErrDirection
	}
	if m.closed {
		return channel.ErrClosed
	}
	if p.channel != nil {
		if err := p.channel.SetTap(p); err != nil {
			return err
		}
		channels[p.channel] = p
	}
	list := slices.DeleteFunc(slices.Clone(p.list()), func(w watcher) bool { return w.Monitor == m })
	list = append(list, watcher{m, d})
	if len(list) == 1 && p.changed != nil && !p.Watched() {
		p.changed(true)
	}
	p.watchers.Store(&list)
	m.points[p] = true
	return nil
}

// remove is the contrary; with the last one the channel has no tap. watching is held.
func (p *Point) remove(m *Monitor) {
	delete(m.points, p)
	list := slices.DeleteFunc(slices.Clone(p.list()), func(w watcher) bool { return w.Monitor == m })
	if len(list) > 0 {
		p.watchers.Store(&list)
		return
	}
	if p.watchers.Swap(nil) != nil && p.changed != nil {
		p.changed(false)
	}
	if p.channel != nil {
		delete(channels, p.channel)
		_ = p.channel.SetTap(nil) // which cannot fail
	}
}
