package kernel

import (
	"fmt"
	"sync"

	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/direct"
	"github.com/sluice-os/sluice/nexus/monitor"
)

// links are the channels of frames that domains have open. It implements domain.Links.
type links struct {
	nexus *nexus
	card  *direct.Card

	mu   sync.Mutex
	open map[*linkEnd]string
}

// OpenLink implements domain.Links.
func (l *links) OpenLink(id uint64, c *config.Domain, etherType uint16, o *domain.Opening) (domain.Channel, error) {
	ch, err := newChannel(l.nexus.random, l.nexus.budget, id, c, o)
	if err != nil {
		return nil, err
	}
	e := &linkEnd{Channel: ch, links: l}
	if e.end, err = l.card.Open(ch, etherType); err != nil {
		ch.Close()
		ch.Arena().Free()
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[e] = fmt.Sprintf("link %04x", etherType)
	return e, nil
}

// list describes the channels.
func (l *links) list() (list []channel.Listed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e, name := range l.open {
		list = append(list, channel.Listed{Channel: e.Channel, Nexus: name})
	}
	return list
}

// linkEnd implements domain.Channel.
type linkEnd struct {
	*channel.Channel
	end   *direct.End
	links *links
}

func (e *linkEnd) Sync() error { return e.end.Sync() }

// Defunct implements domain.Channel: what arrives is nobody's from then on.
func (e *linkEnd) Defunct() (freed int, err error) {
	if freed, err = e.Channel.Defunct(); err == nil {
		e.Wake()
	}
	return freed, err
}

func (e *linkEnd) Close() {
	e.links.mu.Lock()
	delete(e.links.open, e)
	e.links.mu.Unlock()
	e.end.Close()
	monitor.Forget(e.Channel)
}
