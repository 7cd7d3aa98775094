package kernel

import (
	"fmt"
	"log/slog"
	"sort"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/fatal"
	"github.com/sluice-os/sluice/kernel/shell"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/channel"
)

// startDomains starts the apps that came with the image.
func (m *machine) startDomains() {
	archive := vm.Archive()
	if archive == nil {
		return
	}
	if !m.random.Seeded() {
		slog.Error("no domains: no seeded source of random numbers; give the machine RDRAND (QEMU -cpu max) or a virtio-rng device")
		return
	}
	trap.InitUser()
	if err := domain.SetClock(clock.Page()); err != nil {
		slog.Error("no domains", "reason", err)
		return
	}
	watch := &monitors{random: m.random.Read, budget: m.budget, networks: m.networks, find: m.findChannel}
	env := domain.Environment{Random: m.random.Read, Console: consoleLine, Monitors: watch, NewPipes: func(list []config.Domain) domain.Pipes {
		m.pipes = newPipes(list, m.random.Read, m.budget)
		return m.pipes
	}}
	m.monitors = watch
	env.Network = m.networkOf
	if working := m.networks.working(); len(working) > 0 {
		// One tells of all channels, and of its own flows and drops.
		n := working[0].nexus
		n.Others(func() []channel.Listed { return append(m.otherChannels(), working[1:].channels()...) })
		env.Stats = func() []byte {
			b := n.Stats(m.domains.Table().AppendJSON(nil), working.qdisc())
			if m.routing != nil {
				b = append(append(b[:len(b)-1], `,"routing":`...), m.routing.Page()...)
				b = append(b, '}')
			}
			return b
		}
	}
	manager, err := domain.NewManager(archive, env)
	if err != nil {
		slog.Error("no domains", "reason", err)
		return
	}
	m.domains = manager
	for _, n := range m.networks.working() {
		n.nexus.domains.Store(manager)
	}
	go m.watch()
	manager.StartAll(m.options.Run)
}

// otherChannels lists the channels of pipes, monitors and frames.
func (m *machine) otherChannels() []channel.Listed {
	list := append(m.pipes.list(), m.monitors.list()...)
	for _, n := range m.networks.working() {
		list = append(list, n.nexus.links.list()...)
	}
	return list
}

// channels lists those of the flow switches.
func (l networks) channels() (list []channel.Listed) {
	for _, n := range l {
		list = append(list, n.nexus.All()...)
	}
	return list
}

// networkOf returns what a domain is on, by the name of the card that its manifest gives.
func (m *machine) networkOf(c *config.Domain) (domain.Network, domain.Links) {
	n := m.networks.byName(c.NIC)
	if n == nil {
		if c.NIC != "" {
			slog.Warn("a domain has no network: no card of that name works", "domain", c.Name, "nic", c.NIC)
		}
		return nil, nil
	}
	return n.nexus, n.nexus.links
}

// channels lists all channels.
func (m *machine) channels() []channel.Listed {
	if working := m.networks.working(); len(working) > 0 {
		return working[0].nexus.All()
	}
	list := m.otherChannels()
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}

// findChannel returns the channel of a number; nil: there is none.
func (m *machine) findChannel(id uint32) *channel.Channel {
	for _, c := range m.channels() {
		if c.ID == id {
			return c.Channel
		}
	}
	return nil
}

// consoleLine prints one line of a domain's, behind its name.
func consoleLine(name string, line []byte) {
	text := make([]byte, 0, len(name)+len(line)+3)
	text = append(text, name...)
	text = append(text, ": "...)
	text = append(text, line...)
	console.Writer{}.Write(append(text, '\n'))
}

// runOne gives the console to the domain that the option run= names, and turns
// the machine off when it has ended.
func (m *machine) runOne(keys console.Reader) {
	if m.domains == nil {
		slog.Error("no domain to run: the image has none", "run", m.options.Run)
	} else {
		writer := console.Writer{}
		go shell.Type(keys, writer, m.domains, m.options.Run)
		end, err := m.domains.Run(m.options.Run, func(p []byte) { writer.Write(p) })
		if err != nil {
			slog.Error("the domain does not run", "run", m.options.Run, "reason", err)
		} else {
			fmt.Fprintf(writer, "\nsluice: %s %s\n", m.options.Run, end)
		}
	}
	slog.Error("power off", "reason", m.power.off())
	fatal.Reset()
}
