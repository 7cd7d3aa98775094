package kernel

// The networks: a host stack, and with domains a flow switch, on each card.

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/build"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/host/netinfo"
	"github.com/sluice-os/sluice/kernel/nicname"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/steer"
	"github.com/sluice-os/sluice/nexus/view"
)

// network is what is on one card. Networks know nothing of each other: each has addresses,
// routes, name servers and ports of its own.
type network struct {
	name  string
	index int         // as "ip link" shows it
	stack *host.Stack // nil: its card or it did not start
	nexus *nexus      // nil without domains, or without a stack
}

// networks are those of the machine, in the order of their cards' places.
type networks []*network

// firstIndex is the number of the first card's interface; the loopback has 1.
const firstIndex = 2

// byName returns a network that works; "" is the first card's. nil: there is none.
func (l networks) byName(name string) *network {
	for i, n := range l {
		if name == n.name || name == "" && i == 0 {
			if n.stack != nil {
				return n
			}
		}
	}
	return nil
}

// working lists those that work.
func (l networks) working() (list networks) {
	for _, n := range l {
		if n.stack != nil {
			list = append(list, n)
		}
	}
	return list
}

// startNetworks starts what is on the cards.
func (m *machine) startNetworks() {
	if !m.random.Seeded() {
		slog.Error("no network: no seeded source of random numbers; give the machine RDRAND (QEMU -cpu max) or a virtio-rng device")
		return
	}
	cards, problems := nicname.Assign(m.devices.places, m.options.NICs)
	for _, p := range problems {
		slog.Warn("kernel option ignored", "problem", p)
	}
	if len(cards) == 0 {
		slog.Error("no network: no network card was found; give " + m.cardAdvice())
		return
	}
	// Each stack has a part of the memory that peers may make the machine hold.
	u := vm.Usage()
	whole := int(min(u.Total/4, m.heapLimit*2/3)) - m.forwardMemory(len(cards))
	fit := min(len(cards), max(1, whole/host.MemoryBudgetMin))
	for i, c := range cards {
		n := &network{name: c.Name, index: firstIndex + i}
		m.networks = append(m.networks, n)
		card := m.devices.card(m.devices.places[c.At])
		var err error
		switch {
		case card == nil:
			err = errors.New("its card was left out")
		case i >= fit:
			err = errors.New("the machine has no memory for another network: give it more, or fewer cards")
		default:
			err = m.startNetwork(n, card, i == 0, whole/fit, fit)
		}
		if err != nil {
			slog.Error("no network", "name", n.name, "at", m.devices.places[c.At], "reason", err)
		}
	}
	m.startRouter()
}

// startNetwork starts the stack on a card, which is one of several, with so much memory in
// bytes.
func (m *machine) startNetwork(n *network, card nic.Device, first bool, memory, several int) error {
	v4, v6 := m.addresses(n.name, first)
	stack, err := host.New(card, host.Config{
		IPv4: v4, IPv6: v6, Name: n.name, Index: n.index,
		MemoryBudget: memory,
		Now:          clock.Since,
		Rand:         m.random,
		Log:          slog.Default(),
		Status: host.Status{
			Version: build.Version,
			BuildID: build.ID(),
			Uptime:  clock.Since,
			Memory: func() (total, used uint64) {
				u := vm.Usage()
				return u.Total, u.Total - u.Free
			},
		},
	})
	if err == nil && m.options.FIFO {
		err = stack.SetQdisc(host.QdiscFIFO)
	}
	if err == nil && m.budget != nil {
		// An eighth of the kernel's heap is for flows and ports, at most.
		n.nexus, err = m.newNexus(stack, n.index, domain.Listeners(vm.Archive(), n.name, first), m.heapLimit/8/uint64(several))
	}
	if err == nil {
		err = m.router.Join(stack, n.index-firstIndex, n.name)
	}
	if err == nil && m.routing != nil {
		m.routing.attach(n, stack)
	}
	if err == nil {
		err = stack.Start()
	}
	if err != nil {
		if stack != nil {
			stack.Close()
		}
		n.nexus = nil
		return err
	}
	n.stack = stack
	return nil
}

// addresses are what the command line says of a card. What it says of no card by name is
// the first one's; the others ask for theirs.
func (m *machine) addresses(name string, first bool) (options.IPv4, options.IPv6) {
	o := options.Default()
	v4, v6 := o.IPv4, o.IPv6
	if first {
		v4, v6 = m.options.IPv4, m.options.IPv6
	}
	own := m.options.NIC(name)
	if own.IPv4 != nil {
		v4 = *own.IPv4
	}
	if own.IPv6 != nil {
		v6 = *own.IPv6
	}
	return v4, v6
}

// cardAdvice is what gives the machine a network card.
func (m *machine) cardAdvice() string {
	if m.board.Bus == MMIO {
		return "QEMU -device virtio-net-device,netdev=n0"
	}
	return "QEMU -device virtio-net-pci,netdev=n0, or a PC a card with Intel's 82540EM, 82545EM or 82574L"
}

// collect joins what the stacks list.
func collect[T any](l networks, f func(*host.Stack) []T) func() []T {
	return func() (list []T) {
		for _, n := range l {
			list = append(list, f(n.stack)...)
		}
		return list
	}
}

// links lists the interfaces: the loopback of the first stack stands for all.
func (l networks) links() (list []netinfo.Link) {
	for i, n := range l {
		for _, link := range n.stack.Links() {
			if i == 0 || !link.Loopback {
				list = append(list, link)
			}
		}
	}
	return list
}

// addresses lists those of the interfaces.
func (l networks) addresses() (list []netinfo.Address) {
	for i, n := range l {
		for _, a := range n.stack.Addresses() {
			if i == 0 || a.Link == n.name {
				list = append(list, a)
			}
		}
	}
	return list
}

// statistics adds up those of the stacks, which have the same lines.
func (l networks) statistics() (sum []netinfo.Group) {
	for i, n := range l {
		groups := n.stack.Statistics()
		if i == 0 {
			sum = groups
			continue
		}
		for g := range groups {
			for k := range groups[g].Lines {
				sum[g].Lines[k].Value += groups[g].Lines[k].Value
			}
		}
	}
	return sum
}

// flows is what the command flows shows, of all switches.
func (l networks) flows() *view.Table {
	t := l[0].nexus.Flows()
	for _, n := range l[1:] {
		t.Rows = append(t.Rows, n.nexus.Flows().Rows...)
	}
	return t
}

// sockets is what the command ss shows, of all name spaces.
func (l networks) sockets() *view.Table {
	t := l[0].nexus.Sockets()
	for _, n := range l[1:] {
		t.Rows = append(t.Rows, n.nexus.Sockets().Rows...)
	}
	return t
}

// qdisc is what the command qdisc shows, of all cards.
func (l networks) qdisc() *view.Table {
	t := l[0].stack.Qdisc()
	for _, n := range l[1:] {
		t.Rows = append(t.Rows, n.stack.Qdisc().Rows...)
	}
	return t
}

// setQdisc changes the queues in front of all cards.
func (l networks) setQdisc(name string) (err error) {
	for _, n := range l {
		err = errors.Join(err, n.stack.SetQdisc(name))
	}
	return err
}

// setRate changes how much a domain may send on the network that it is on.
func (l networks) setRate(name string, rate aqm.Rate) (err error) {
	for _, n := range l {
		if err = n.nexus.setRate(name, rate); err == nil {
			return nil
		}
	}
	return err
}

// setMarks says whether the classes that domains choose are written into what leaves by any card.
func (l networks) setMarks(on bool) {
	for _, n := range l {
		if n.nexus != nil {
			n.nexus.SetMarks(on)
		}
	}
}

// rules are the rules of a card's flow switch by the card's name, "" for all.
func (l networks) rules(card string, f func(name string, r *steer.Rules) error) (err error) {
	found := false
	for _, n := range l {
		if n.nexus != nil && (card == "" || n.name == card) {
			found, err = true, errors.Join(err, f(n.name, n.nexus.Rules()))
		}
	}
	if !found {
		return errors.New("no domains are on such a card: \"ip link\" lists the cards")
	}
	return err
}

// counters lists those of the first network under their names, and those of the others
// behind the name of their card.
func (l networks) counters() (list []netinfo.Counter) {
	for i, n := range l {
		prefix := ""
		if i > 0 {
			prefix = n.name + "_"
		}
		add := func(name string, v uint64) { list = append(list, netinfo.Counter{Name: prefix + name, Value: v}) }
		for _, c := range n.stack.Counters() {
			add(c.Name, c.Value)
		}
		if n.nexus != nil {
			n.nexus.Drops(add)
			n.nexus.ToHost(add)
			n.nexus.links.card.Drops(add)
		}
	}
	return list
}

// to returns the network with the most specific route to an address; the first of several,
// or of all without one.
func (l networks) to(addr netip.Addr) *network {
	best, bits := l[0], -1
	for _, n := range l {
		if zone := addr.Zone(); zone != "" && zone == n.name {
			return n
		}
		for _, r := range n.stack.Routes() {
			if r.Destination.Contains(addr.WithZone("")) && r.Destination.Bits() > bits {
				best, bits = n, r.Destination.Bits()
			}
		}
	}
	return best
}

// lookup asks the first network that has name servers.
func (l networks) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	for _, n := range l {
		if len(n.stack.DNS()) > 0 {
			return n.stack.Lookup(ctx, name)
		}
	}
	return l[0].stack.Lookup(ctx, name)
}
