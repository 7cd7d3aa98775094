package kernel

import (
	"fmt"

	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/direct"
	"github.com/sluice-os/sluice/nexus/monitor"
)

// links are the channels of frames that domains have open. It implements domain.Links.
type links struct {
	nexus *nexus
	card  *direct.Card

	opened
}

// OpenLink implements domain.Links.
func (l *links) OpenLink(id uint64, c *config.Domain, etherType uint16, o *domain.Opening) (domain.Channel, error) {
	ch, err := newChannel(l.nexus.random, l.nexus.budget, id, c, o)
	if err != nil {
		return nil, err
	}
	e := &linkEnd{plainEnd: plainEnd{ch}, links: l}
	if e.end, err = l.card.Open(ch, etherType); err != nil {
		ch.Close()
		ch.Arena().Free()
		return nil, err
	}
	l.add(ch, fmt.Sprintf("link %04x", etherType))
	return e, nil
}

// linkEnd implements domain.Channel.
type linkEnd struct {
	plainEnd
	end   *direct.End
	links *links
}

func (e *linkEnd) Sync() error { return e.end.Sync() }

func (e *linkEnd) Close() {
	e.links.remove(e.Channel)
	e.end.Close()
	monitor.Forget(e.Channel)
}
