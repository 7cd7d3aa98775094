package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/budget"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/direct"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/nexus/monitor"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/netns"
)

// nexus joins domains with the card: the flow switch, the name space and the net
// page. It implements domain.Network.
type nexus struct {
	*flowswitch.Switch
	names  *netns.Space
	budget *budget.Budget
	random func([]byte) (int, error)
	page   []byte
	// taken are the ports that domains of the image may listen on, in the
	// manifest's words.
	taken []string
	stack *host.Stack
	// card is where its frames can be watched.
	card  *monitor.Point
	links *links
	mu    sync.Mutex
	// permits are what domains that opened a channel may do, by name. They stay when a
	// domain ends: what its names stand for is known when it starts again.
	permits map[string]*permit
	// domains are told when the net page is another; nil: there are none yet.
	domains atomic.Pointer[domain.Manager]
}

// permit is what a domain may do, and the names of it.
type permit struct {
	policy *netns.Policy
	names  map[string]*host.Name
	limit  *flowswitch.Limit
}

// newNexus puts a flow switch on the host stack's card, whose interface has a number. It is
// called before the stack starts. taken are the ports that domains may listen on, and
// memory is how much flows and ports may take, in bytes.
func (m *machine) newNexus(s *host.Stack, index int, taken []string, memory uint64) (*nexus, error) {
	page, err := vm.SharedPage()
	if err != nil {
		return nil, err
	}
	n := &nexus{budget: m.budget, random: m.random.Read, page: page, taken: taken, stack: s, permits: map[string]*permit{}}
	flows := int(memory / flowswitch.FlowMemory)
	n.names = netns.New(netns.Config{Random: n.random32, Max: max(flows, flowswitch.FlowsMin), Restricted: netns.HostPorts()})
	n.Switch = flowswitch.New(s.Port(), n.names, clock.Since, uint64(n.random32())<<32|uint64(n.random32()), flows)
	s.Attach(n.Switch)
	n.card = monitor.NewPoint(uint32(index), s.AllGroups)
	s.Tap(n.card)
	n.links = &links{nexus: n}
	s.Frames(func(p netif.FramePort) netif.FrameReceiver {
		n.links.card = direct.NewCard(p, clock.Since)
		return n.links.card
	})
	s.Follow(n.publish)
	s.Reserve(n.reserve)
	return n, nil
}

func (n *nexus) random32() uint32 {
	var b [4]byte
	n.random(b[:]) // a short read leaves zeros: ports are then easier to guess
	return binary.LittleEndian.Uint32(b[:])
}

// Page implements domain.Network.
func (n *nexus) Page() []byte { return n.page }

// publish writes the net page. Only the host stack's configurator calls it.
func (n *nexus) publish(f *host.Facts) {
	page := (*abi.Net)(unsafe.Pointer(&n.page[0]))
	atomic.AddUint64(&page.Sequence, 1)
	page.Generation++
	page.Up, page.MTU, page.MAC = 0, uint32(f.MTU), f.MAC
	if f.Up {
		page.Up = 1
	}
	page.Rate = f.Rate
	clear(page.Addresses[:])
	for i, p := range f.Addresses[:min(len(f.Addresses), len(page.Addresses))] {
		page.Addresses[i] = abi.NetAddress{IP: p.Addr().As16(), Prefix: uint32(p.Bits()), Used: 1}
	}
	clear(page.DNS[:])
	for i, a := range f.DNS[:min(len(f.DNS), len(page.DNS))] {
		page.DNS[i] = a.As16()
	}
	page.Gateway4, page.Gateway6 = [16]byte{}, [16]byte{}
	if f.Gateway[0].IsValid() {
		page.Gateway4 = f.Gateway[0].As16()
	}
	if f.Gateway[1].IsValid() {
		page.Gateway6 = f.Gateway[1].As16()
	}
	atomic.AddUint64(&page.Sequence, 1)
	addresses := make([]netip.Addr, 0, len(f.Addresses))
	for _, p := range f.Addresses {
		addresses = append(addresses, p.Addr())
	}
	n.Facts(f.Up, addresses)
	n.again()
	if m := n.domains.Load(); m != nil {
		m.Post(abi.EventNet)
	}
}

// Open implements domain.Network.
func (n *nexus) Open(id uint64, c *config.Domain, o *domain.Opening) (domain.Channel, error) {
	p, err := n.permit(c)
	if err != nil {
		return nil, err
	}
	ch, err := newChannel(n.random, n.budget, id, c, o)
	if err != nil {
		return nil, err
	}
	ch.SetOffloads(o.Offloads)
	n.Attach(ch, p.policy)
	n.SetLimit(ch, p.limit)
	return &netChannel{ch, n, p}, nil
}

// permit returns what a domain of the image may do. Its names are looked up from the
// first time on.
func (n *nexus) permit(c *config.Domain) (*permit, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.permits[c.Name]; p != nil {
		return p, nil
	}
	policy, err := netns.ParsePolicy(c.Listen, c.Connect)
	if err != nil {
		return nil, err
	}
	p := &permit{policy, map[string]*host.Name{}, &flowswitch.Limit{}}
	n.SetRate(p.limit, aqm.Rate(c.Rate))
	for _, name := range policy.Names() {
		p.names[name] = n.stack.Watch(name, func(list []netip.Addr) { policy.SetName(name, list) })
	}
	n.permits[c.Name] = p
	return p, nil
}

// setRate changes how much a domain may send, for as long as the machine runs.
func (n *nexus) setRate(domain string, rate aqm.Rate) error {
	n.mu.Lock()
	p := n.permits[domain]
	n.mu.Unlock()
	if p == nil {
		return fmt.Errorf("no domain %q has been on the network", domain)
	}
	n.SetRate(p.limit, rate)
	return nil
}

// again has all names looked up: the network is another.
func (n *nexus) again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.permits {
		for _, name := range p.names {
			name.Again()
		}
	}
}

// netChannel is a channel of the flow switch's. It implements domain.Channel.
type netChannel struct {
	*channel.Channel
	nexus  *nexus
	permit *permit
}

func (c *netChannel) Sync() error { return c.nexus.Switch.Sync(c.Channel) }

func (c *netChannel) Close() {
	c.nexus.Detach(c.Channel)
	monitor.Forget(c.Channel)
}

// Defunct implements domain.Channel.
func (c *netChannel) Defunct() (int, error) { return c.nexus.Switch.Defunct(c.Channel) }

// Used implements domain.Flows.
func (c *netChannel) Used() time.Duration { return c.nexus.Switch.Used(c.Channel) }

// Flow implements domain.Flows.
func (c *netChannel) Flow(r *abi.FlowRequest) syscall.Errno {
	return c.nexus.Switch.Flow(c.Channel, r)
}

// Branch implements domain.Flows.
func (c *netChannel) Branch(r *abi.BranchRequest) syscall.Errno {
	return c.nexus.Switch.Branch(c.Channel, r)
}

// Names implements domain.Flows.
func (c *netChannel) Names(r *abi.FlowRequest) (list []<-chan struct{}) {
	if r.Op != abi.FlowConnect {
		return nil
	}
	for _, name := range c.permit.policy.NamesAt(uint16(r.RemotePort)) {
		if done := c.permit.names[name].Refresh(); done != nil {
			list = append(list, done)
		}
	}
	return list
}

// newChannel makes a channel of a domain's, with an arena in its memory and a share of the
// budget.
func newChannel(random func([]byte) (int, error), b *budget.Budget, id uint64, c *config.Domain, o *domain.Opening) (*channel.Channel, error) {
	params, err := arena.Named(o.Schema)
	if err != nil {
		return nil, err
	}
	if params, err = params.With(o.Slots); err != nil {
		return nil, err
	}
	layout, err := arena.NewLayout(params)
	if err != nil {
		return nil, err
	}
	var bytes [8]byte
	if _, err := random(bytes[:]); err != nil {
		return nil, err
	}
	cookie := binary.LittleEndian.Uint64(bytes[:])
	a, err := arena.New(layout, o.Memory, cookie)
	if err != nil {
		return nil, err
	}
	ch := channel.New(a, cookie)
	ch.Owner, ch.Name, ch.Schema, ch.Pinned = id, c.Name, o.Schema, c.Pinned
	ch.Notify = o.Notify
	b.Join(ch, c.Weight)
	return ch, nil
}

// reserve takes a port for the host stack, which uses those that no domain of the image
// listens on.
func (n *nexus) reserve(protocol string, port uint16) (release func(), ok bool) {
	word := fmt.Sprintf("%s/%d", protocol, port)
	if slices.Contains(n.taken, word) {
		return nil, false
	}
	proto := uint8(netns.TCP)
	if protocol == "udp" {
		proto = netns.UDP
	}
	r, err := n.names.Reserve(clock.Since(), netns.Request{
		Kind: netns.Host, Proto: proto, Local: netip.AddrPortFrom(netip.Addr{}, port),
	})
	return func() { r.Release(clock.Since(), 0) }, err == nil
}
