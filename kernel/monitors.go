package kernel

import (
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/budget"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/monitor"
)

// monitors are those that domains have open. It implements domain.Monitors.
type monitors struct {
	random func([]byte) (int, error)
	budget *budget.Budget
	// networks have cards, where frames pass; find returns the channel of a number, or nil.
	networks networks
	find     func(id uint32) *channel.Channel

	mu   sync.Mutex
	open map[*monitorEnd]string // with what they watch
}

// OpenMonitor implements domain.Monitors.
func (m *monitors) OpenMonitor(id uint64, c *config.Domain, w domain.Watch, o *domain.Opening) (domain.Channel, error) {
	if w.Direction > uint32(monitor.Both) || w.Snap > monitor.SnapMax {
		return nil, fmt.Errorf("%w: direction %d, %d bytes", domain.ErrNoTarget, w.Direction, w.Snap)
	}
	var target *channel.Channel
	var card *monitor.Point
	var name string
	switch w.Kind {
	case abi.RecordNetif:
		// The one that the domain is on.
		n := m.networks.byName(c.NIC)
		if n == nil || n.nexus == nil {
			return nil, fmt.Errorf("%w: no network interface", domain.ErrNoTarget)
		}
		card, name = n.nexus.card, "monitor "+n.name
	case abi.RecordChannel:
		if target = m.find(w.Target); target == nil {
			return nil, fmt.Errorf("%w: channel %d", domain.ErrNoTarget, w.Target)
		}
		name = fmt.Sprintf("monitor %d", w.Target)
	default:
		return nil, fmt.Errorf("%w: kind %d", domain.ErrNoTarget, w.Kind)
	}
	ch, err := newChannel(m.random, m.budget, id, c, o)
	if err != nil {
		return nil, err
	}
	e := &monitorEnd{Channel: ch, monitors: m}
	if e.monitor, err = monitor.New(ch, monitor.Config{Snap: w.Snap, Now: clock.Since}); err == nil {
		if target != nil {
			err = e.monitor.Watch(target, monitor.Direction(w.Direction))
		} else {
			err = e.monitor.WatchPoint(card, monitor.Direction(w.Direction))
		}
		if err != nil {
			e.monitor.Close()
		}
	}
	if err != nil {
		ch.Arena().Free()
		return nil, errors.Join(domain.ErrNoTarget, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open[e] = name
	return e, nil
}

// list describes the channels.
func (m *monitors) list() (list []channel.Listed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for e, name := range m.open {
		list = append(list, channel.Listed{Channel: e.Channel, Nexus: name})
	}
	return list
}

// monitorEnd implements domain.Channel.
type monitorEnd struct {
	*channel.Channel
	monitor  *monitor.Monitor
	monitors *monitors
}

func (e *monitorEnd) Sync() error { return e.monitor.Sync() }

// Defunct implements domain.Channel: the monitor records no more.
func (e *monitorEnd) Defunct() (freed int, err error) {
	if freed, err = e.Channel.Defunct(); err == nil {
		e.Wake()
	}
	return freed, err
}

func (e *monitorEnd) Close() {
	e.monitors.mu.Lock()
	delete(e.monitors.open, e)
	e.monitors.mu.Unlock()
	e.monitor.Close()
}
