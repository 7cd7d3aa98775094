package kernel

import (
	"sync"

	"github.com/sluice-os/sluice/nexus/channel"
)

// opened are the channels of one kind that domains have open, each with the words for what it is
// to. The zero value has none.
type opened struct {
	mu    sync.Mutex
	words map[*channel.Channel]string
}

func (o *opened) add(c *channel.Channel, words string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.words == nil {
		o.words = map[*channel.Channel]string{}
	}
	o.words[c] = words
}

func (o *opened) remove(c *channel.Channel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.words, c)
}

// list describes the channels.
func (o *opened) list() (list []channel.Listed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c, words := range o.words {
		list = append(list, channel.Listed{Channel: c, Nexus: words})
	}
	return list
}

// plainEnd is a channel that no flow switch has.
type plainEnd struct{ *channel.Channel }

// Defunct implements domain.Channel: what arrives is nobody's from then on.
func (e plainEnd) Defunct() (freed int, err error) {
	if freed, err = e.Channel.Defunct(); err == nil {
		e.Wake()
	}
	return freed, err
}
