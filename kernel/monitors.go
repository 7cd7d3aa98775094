package kernel

import (
	"errors"
	"fmt"

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

	opened
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
	e := &monitorEnd{plainEnd: plainEnd{ch}, monitors: m}
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
	m.add(ch, name)
	return e, nil
}

// monitorEnd implements domain.Channel.
type monitorEnd struct {
	plainEnd
	monitor  *monitor.Monitor
	monitors *monitors
}

func (e *monitorEnd) Sync() error { return e.monitor.Sync() }

func (e *monitorEnd) Close() {
	e.monitors.remove(e.Channel)
	e.monitor.Close()
}
