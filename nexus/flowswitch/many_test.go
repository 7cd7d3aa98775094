package flowswitch_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	kernel "github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/nexus/netns"
	"github.com/sluice-os/sluice/userland/channel"
)

// This file owns many channels, of one domain and of many; names in comments are those of
// skywalk 7.2.

// machineMost is how many channels a machine has at most: 8 a domain (abi.ChannelsMax), of 64
// domains (kernel/domain/config.Max).
const machineMost = 64 * abi.ChannelsMax

// crowd makes channels in one machine's memory.
type crowd struct {
	*world
	layout *arena.Layout
	memory *arenatest.Memory
	policy *netns.Policy
}

// newCrowd prepares a machine with memory for so many small channels.
func newCrowd(t *testing.T, channels int) *crowd {
	t.Helper()
	p := arena.Params{Packets: 32, Buffers: 16, Advisory: 64}
	for kind := range p.Slots {
		p.Slots[kind] = 16
	}
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := netns.ParsePolicy([]string{"udp/*", "tcp/*"}, []string{"udp/*:*", "tcp/*:*"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.lossy = nobody
	w.names = netns.New(netns.Config{Random: rand.New(rand.NewPCG(1, 1)).Uint32}) // called with the space locked
	w.sw = flowswitch.New(w, w.names, func() time.Duration { w.mu.Lock(); defer w.mu.Unlock(); return w.now }, 1, flowswitch.FlowsMax)
	return &crowd{w, l, arenatest.New(t, l.Size*channels), policy}
}

// open opens a channel of an owner's, whose domain has no stack.
func (c *crowd) open(owner uint64) (*domain, error) {
	d := &domain{w: c.world, memory: c.memory.Range(c.t, c.layout.Range), policy: c.policy, event: make(chan struct{}, 1)}
	if err := d.open(c.layout, owner); err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { c.sw.Detach(d.channel) })
	return d, nil
}

// must opens one that there is room for.
func (c *crowd) must(owner uint64) *domain {
	c.t.Helper()
	d, err := c.open(owner)
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

// end closes a channel and frees its memory.
func (d *domain) end() {
	d.w.sw.Detach(d.channel)
	d.channel.Arena().Free()
}

// works has a flow carry a datagram each way, and no other channel see it.
func (d *domain) works(r abi.FlowRequest) {
	t, w := d.w.t, d.w
	t.Helper()
	port := uint16(r.LocalPort)
	sent := len(w.sent)
	p := packet{src: machine, dst: outside, proto: 17, sport: port, dport: uint16(r.RemotePort), payload: 8}
	d.send(p.bytes(), channel.Outgoing{Flow: r.Flow, Generation: r.Generation})
	if len(w.sent) != sent+1 || !bytes.Equal(w.sent[sent], p.bytes()) {
		t.Fatalf("port %d: %d packets left: %v", port, len(w.sent)-sent, w.drops())
	}
	w.sent = w.sent[:0]
	p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
	if !w.arrive(p.bytes()) {
		t.Fatalf("port %d: the answer is nobody's", port)
	}
	if flows, got := d.arrivals(); len(got) != 1 || flows[0] != r.Flow || !bytes.Equal(got[0], p.bytes()) {
		t.Fatalf("port %d: %d packets of flows %v have come, want one of %d", port, len(got), flows, r.Flow)
	}
	d.user.Flush()
}

// TestManyChannels (fsw29301703a, fsw29301703b, fsw29301703c): 63 channels, 200, and as many
// as a machine can have, each with a flow that works. One that there is no memory for is
// refused with its error, which does the others no harm, and opens when one of them has
// closed.
func TestManyChannels(t *testing.T) {
	for _, n := range []int{63, 200, machineMost} {
		c := newCrowd(t, n)
		all, flows := make([]*domain, n), make([]abi.FlowRequest, n)
		for i := range all {
			all[i] = c.must(uint64(1 + i/abi.ChannelsMax))
			flows[i] = must(t)(all[i].connect(17, outside, uint16(1000+i)))
		}
		c.memory.Most = c.memory.Used()
		if _, err := c.open(1000); !errors.Is(err, arena.ErrShort) {
			t.Errorf("%d channels, and one more: %v", n, err)
		}
		for i, d := range all {
			d.works(flows[i])
		}
		if got := len(c.sw.All()); got != n {
			t.Errorf("%d channels are listed of %d", got, n)
		}
		for i := 0; i < n; i += 7 {
			all[i].end()
			all[i] = c.must(uint64(1 + i/abi.ChannelsMax))
			flows[i] = must(t)(all[i].connect(17, outside, uint16(1000+i)))
		}
		for i, d := range all {
			d.works(flows[i])
		}
		for _, d := range all {
			d.end()
		}
		if c.memory.Used() != 0 || c.flows() != 0 || len(c.names.Rows(0)) != 0 {
			t.Errorf("%d channels leave %d bytes, %d flows, %d ports", n, c.memory.Used(), c.flows(), len(c.names.Rows(0)))
		}
	}
}

// TestBinding (fswbindany, fswbind0, fswbind1, fswbind512; fswbind2, fswbind5, fswbind25;
// bindfswanon, bindfswkey): a channel has the number that the kernel gives it, which nobody
// has had; a flow is that of the channel which asked for it, and no request reaches a channel
// that is not there.
func TestBinding(t *testing.T) {
	c := newCrowd(t, 16)
	last := uint32(0)
	for range 20 {
		d := c.must(1)
		if d.channel.ID <= last {
			t.Errorf("number %d after %d", d.channel.ID, last)
		}
		last = d.channel.ID
		d.end()
	}
	l, err := arena.New(c.layout, c.memory.Range(t, c.layout.Range), 3)
	if err != nil {
		t.Fatal(err)
	}
	stranger := &domain{w: c.world, channel: kernel.New(l, 3)}
	for _, id := range []uint32{0, 1, 512, last} {
		stranger.channel.ID = id
		if _, errno := stranger.connect(17, outside, 53); errno != syscall.ENXIO {
			t.Errorf("a flow of channel %d: %v", id, errno)
		}
		if errno := c.sw.Branch(stranger.channel, &abi.BranchRequest{Flow: 1, Count: 1}); errno != syscall.ENXIO {
			t.Errorf("a branch of channel %d: %v", id, errno)
		}
		if err := c.sw.Sync(stranger.channel); !errors.Is(err, kernel.ErrClosed) {
			t.Errorf("a sync of channel %d: %v", id, err)
		}
	}
	if c.flows() != 0 {
		t.Fatalf("%d flows", c.flows())
	}
	// Two channels with two and with five flows: each belongs to its own.
	a, b := c.must(1), c.must(1)
	of := map[string]uint32{}
	for d, n := range map[*domain]int{a: 2, b: 5} {
		for i := range n {
			r := must(t)(d.connect(17, outside, uint16(53+i)))
			of[strconv.Itoa(int(r.Flow))] = d.channel.ID
		}
	}
	check := func(want int) {
		t.Helper()
		table := c.sw.Flows()
		if len(table.Rows) != want {
			t.Errorf("%d flows, want %d", len(table.Rows), want)
		}
		for _, row := range table.Rows {
			if got := row[6]; got != strconv.Itoa(int(of[row[0]])) {
				t.Errorf("flow %s is channel %s's, want %d", row[0], got, of[row[0]])
			}
		}
	}
	check(7)
	a.end()
	check(5)
}

// TestFlowsOfTwoChannels (flowreqll): a domain that wants flows apart from its others, for
// low latency, has another channel. Its flows are in no other: not to be sent over, asked
// about, or received in; the domain's limits are for both together. (That such a channel has
// a queue of its own is the traffic's part.)
func TestFlowsOfTwoChannels(t *testing.T) {
	c := newCrowd(t, 4)
	bulk, quick := c.must(1), c.must(1)
	slow, fast := must(t)(bulk.connect(17, outside, 53)), must(t)(quick.connect(17, outside, 53))
	if slow.LocalPort == fast.LocalPort || slow.Flow == fast.Flow {
		t.Errorf("%+v and %+v", slow, fast)
	}
	bulk.works(slow)
	quick.works(fast)
	for _, f := range []struct {
		own, other *domain
		r          abi.FlowRequest
	}{{bulk, quick, slow}, {quick, bulk, fast}} {
		for _, named := range []channel.Outgoing{{}, {Flow: f.r.Flow, Generation: f.r.Generation}} {
			before, sent := c.drops()["flowswitch_drop_tx_bad_flow"], len(c.sent)
			p := packet{src: machine, dst: outside, proto: 17, sport: uint16(f.r.LocalPort), dport: 53}
			f.other.send(p.bytes(), named)
			if n := c.drops()["flowswitch_drop_tx_bad_flow"]; n != before+1 || len(c.sent) != sent {
				t.Errorf("over the other channel %d left: %v", len(c.sent)-sent, c.drops())
			}
		}
		if _, errno := f.other.request(abi.FlowRequest{Op: abi.FlowClose, Flow: f.r.Flow, Generation: f.r.Generation}); errno != syscall.ENOENT {
			t.Errorf("the other channel closed the flow: %v", errno)
		}
		if f.own.works(f.r); len(f.other.received()) != 0 {
			t.Error("the other channel has received something")
		}
	}
	// 512 in all, and as many as are free again.
	for i := range 510 {
		must(t)([]*domain{bulk, quick}[i%2].connect(17, outside, uint16(1000+i)))
	}
	for _, d := range []*domain{bulk, quick} {
		if _, errno := d.connect(17, outside, 9); errno != syscall.ENOMEM {
			t.Errorf("the 513th: %v", errno)
		}
	}
	bulk.end()
	quick.works(fast)
	for i := range 256 {
		must(t)(quick.connect(17, outside, uint16(2000+i)))
	}
	if _, errno := quick.connect(17, outside, 9); errno != syscall.ENOMEM {
		t.Errorf("the 513th: %v", errno)
	}
}

// TestFlowsOfManyChannels: mf10x10, mf10x100, mf100x10, mf100x100: so many channels of one
// domain with so many flows each, of which it has 512 and no more; mc10x10, mc10x100,
// mc100x10, mc100x100: as many domains with a channel and so many flows each. Every flow
// works.
func TestFlowsOfManyChannels(t *testing.T) {
	for _, size := range [][2]int{{10, 10}, {10, 100}, {100, 10}, {100, 100}} {
		for _, name := range []string{"mf", "mc"} {
			channels, each := size[0], size[1]
			t.Run(name+strconv.Itoa(channels)+"x"+strconv.Itoa(each), func(t *testing.T) {
				c := newCrowd(t, channels)
				most := channels * each
				if name == "mf" {
					most = min(most, 512)
				}
				var flows []abi.FlowRequest
				var of []*domain
				for i := range channels {
					owner := uint64(1)
					if name == "mc" {
						owner += uint64(i)
					}
					d := c.must(owner)
					for k := range each {
						r, errno := d.connect(17, outside, uint16(1000+k))
						if len(flows) == most {
							if errno != syscall.ENOMEM {
								t.Fatalf("flow %d: %v", len(flows)+1, errno)
							}
							continue
						}
						flows, of = append(flows, must(t)(r, errno)), append(of, d)
					}
				}
				if n := len(c.sw.Table().All()); len(flows) != most || n != most {
					t.Fatalf("%d flows were given, %d are there, want %d", len(flows), n, most)
				}
				step := 1
				if len(flows) > 1000 {
					step = len(flows)/arenatest.Few(len(flows)) | 1
				}
				for i := 0; i < len(flows); i += step {
					of[i].works(flows[i])
				}
				for _, d := range of {
					d.w.sw.Detach(d.channel)
				}
				if n := len(c.names.Rows(0)); n != 0 || c.flows() != 0 {
					t.Errorf("%d ports and %d flows are left", n, c.flows())
				}
			})
		}
	}
}

// TestHundredDomains (mp100noop): a hundred domains come and go at once, again and again, and
// leave nothing.
func TestHundredDomains(t *testing.T) {
	c := newCrowd(t, 100)
	for range 3 {
		var wg sync.WaitGroup
		for i := range 100 {
			m := c.memory.Range(t, c.layout.Range)
			wg.Go(func() {
				d := &domain{w: c.world, memory: m, policy: c.policy, event: make(chan struct{}, 1)}
				if err := d.open(c.layout, uint64(1+i)); err != nil {
					t.Error(err)
					return
				}
				d.user.Flush()
				d.end()
			})
		}
		wg.Wait()
		if c.memory.Used() != 0 || len(c.sw.All()) != 0 || c.flows() != 0 {
			t.Errorf("%d bytes, %d channels and %d flows are left", c.memory.Used(), len(c.sw.All()), c.flows())
		}
	}
	if len(c.sent) != 0 {
		t.Errorf("%d packets left", len(c.sent))
	}
}

// TestFlowConfig (flowconfig): each request about a flow is refused to who does not have it,
// ENOENT for another's as for none, so that nobody learns which there are; nothing changes.
// What a flow cannot is EINVAL. (There is no flag for a machine that sleeps.)
func TestFlowConfig(t *testing.T) {
	c := newCrowd(t, 4)
	d, other := c.must(1), c.must(2)
	own := must(t)(d.bind(17, 5000))
	closed := must(t)(d.bind(17, 5001))
	must(t)(d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: closed.Flow, Generation: closed.Generation}))
	old := own
	old.Generation--
	none := abi.FlowRequest{Flow: 1 << 20, Generation: 1}
	rows := func() [][]string { return c.sw.Flows().Rows }
	before := rows()
	for name, r := range map[string]abi.FlowRequest{
		"connect": {Op: abi.FlowConnect, Remote: outside.As16(), RemotePort: 53},
		"listen":  {Op: abi.FlowListen},
		"join":    {Op: abi.FlowJoin, Remote: group.As16()},
		"leave":   {Op: abi.FlowLeave, Remote: group.As16()},
		"close":   {Op: abi.FlowClose},
	} {
		for _, by := range []struct {
			name string
			d    *domain
			f    abi.FlowRequest
		}{{"another domain", other, own}, {"of none", d, none}, {"of a closed one", d, closed}, {"of an older one", d, old}} {
			r.Flow, r.Generation = by.f.Flow, by.f.Generation
			if _, errno := by.d.request(r); errno != syscall.ENOENT {
				t.Errorf("%s, %s: %v", name, by.name, errno)
			}
		}
	}
	if got := rows(); !slices.EqualFunc(got, before, slices.Equal) {
		t.Errorf("a refusal has changed something: %v, before %v", got, before)
	}
	for name, r := range map[string]abi.FlowRequest{
		"listen":         {Op: abi.FlowListen}, // of UDP
		"bind":           {Op: abi.FlowBind},
		"unknown":        {Op: 99},
		"join of nobody": {Op: abi.FlowJoin, Remote: outside.As16()},
		"port 0":         {Op: abi.FlowConnect, Remote: outside.As16()},
		"nobody":         {Op: abi.FlowConnect, Remote: netip.IPv4Unspecified().As16(), RemotePort: 5},
	} {
		r.Flow, r.Generation = own.Flow, own.Generation
		if _, errno := d.request(r); errno != syscall.EINVAL {
			t.Errorf("%s: %v", name, errno)
		}
	}
	// The control: its owner's requests are done.
	for _, r := range []abi.FlowRequest{
		{Op: abi.FlowJoin, Remote: group.As16()}, {Op: abi.FlowLeave, Remote: group.As16()}, {Op: abi.FlowClose},
	} {
		r.Flow, r.Generation = own.Flow, own.Generation
		if _, errno := d.request(r); errno != 0 {
			t.Errorf("request %d: %v", r.Op, errno)
		}
	}
}
