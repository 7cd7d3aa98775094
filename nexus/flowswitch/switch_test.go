package flowswitch_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	pipe "gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/netns"
	user "github.com/sluice-os/sluice/userland/channel"
	"github.com/sluice-os/sluice/userland/link"
	"github.com/sluice-os/sluice/userland/link/linktest"
)

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

var (
	machine = netip.MustParseAddr("192.0.2.1")
	outside = netip.MustParseAddr("192.0.2.2")
	// Those of IPv6, which the stacks of the tests do not have.
	machine6 = netip.MustParseAddr("2001:db8::1")
	outside6 = netip.MustParseAddr("2001:db8::2")
	// elsewhere is the machine's address when it has moved.
	elsewhere = netip.MustParseAddr("192.0.2.3")
	// All, and all in the machine's network.
	everybody = netip.MustParseAddr("255.255.255.255")
	network   = netip.MustParseAddr("192.0.2.255")
	// unjoinable is a group that the card does not take.
	unjoinable = netip.MustParseAddr("239.255.255.255")
)

// world is a machine with a flow switch, and a peer on its wire.
type world struct {
	t     testing.TB
	sw    *flowswitch.Switch
	names *netns.Space
	peer  *stack.Stack
	wire  *pipe.Endpoint

	mu   sync.Mutex
	full bool
	// untold: something was sent and not flushed.
	untold atomic.Bool
	// hastened are the channels of which nothing is to wait for a time any more.
	hastened []uint32
	// room, if it is not 0, is how many packets the card takes before it is full.
	room int
	// once, if it is not nil, is called once when the card was full and has room
	// again, before the sender knows.
	once  func()
	rx    sync.Mutex // of who plays the card's receiver
	sent  [][]byte   // what left the machine
	sizes []int      // of the longest packet that the card makes of each
	// lossy, if it is not nil, is shown each packet and the longest that the card
	// makes of it; false: it is lost.
	lossy func(packet []byte, size int) bool
	hosts [][]byte // what was put together for the host stack
	// ahead, if it is not nil, is called before each packet of the peer's arrives.
	ahead func(packet []byte)
	// inward is what domains have sent to the host stack; deaf: it wants nothing.
	inward [][]byte
	deaf   bool
	// unresolved, if it is not nil, takes the questions for neighbours.
	unresolved *[]func(bool)
	// router, if it is valid, has all neighbours behind it, and unknown has packets
	// wait for them: held tells of the end of that.
	router  netip.Addr
	unknown bool
	held    []func(bool)
	ids     uint32 // of fragments
	now     time.Duration
	others  map[netip.Addr]bool // addresses of the machine
	paths   map[netip.Addr]int  // what TooBig was told
	// between, if not nil, is called while a packet is checked, and onOutput with each
	// that leaves, which is not kept then.
	between  func()
	onOutput func([]byte)
	// card, if not nil, sees each packet that is to leave.
	card func(*netif.Outgoing)
	// lost says that there is no way to anybody, and paused that flows were told to pause.
	lost, paused bool
	// moved says that the machine has lost its address.
	moved  atomic.Bool
	joined map[netip.Addr]int // how often each group is
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, wire: pipe.New(1024, 1500, ""), others: map[netip.Addr]bool{}, paths: map[netip.Addr]int{}, joined: map[netip.Addr]int{}}
	w.names = netns.New(netns.Config{})
	w.sw = flowswitch.New(w, w.names, func() time.Duration { w.mu.Lock(); defer w.mu.Unlock(); return w.now }, 1, 0)
	w.peer = newStack(t, w.wire, outside)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			pkt := w.wire.ReadContext(ctx)
			if pkt == nil {
				return
			}
			b := pkt.ToView().AsSlice()
			if w.ahead != nil {
				w.ahead(b)
			}
			w.arrive(b)
			pkt.DecRef()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		w.peer.Close()
		w.told()
	})
	return w
}

func newStack(t testing.TB, l stack.LinkEndpoint, a netip.Addr) *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := s.CreateNIC(1, l); err != nil {
		t.Fatal(err)
	}
	s.AddProtocolAddress(1, tcpip.ProtocolAddress{
		Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(a.As4()), PrefixLen: 24},
	}, stack.AddressProperties{})
	all := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{}), PrefixLen: 0}
	s.AddRoute(tcpip.Route{Destination: all.Subnet(), NIC: 1})
	return s
}

// arrive is a packet from the wire.
func (w *world) arrive(packet []byte) bool {
	w.rx.Lock()
	defer w.rx.Unlock()
	defer w.sw.Flush()
	return w.arriveQuietly(packet)
}

// arriveQuietly is one of a batch whose end is the caller's to tell.
func (w *world) arriveQuietly(packet []byte) bool {
	to := w.sw.Match(packet[:min(len(packet), 128)], len(packet))
	if to == nil {
		return false
	}
	rest := packet
	w.sw.Deliver(to, &netif.Arrived{Head: packet, Length: len(packet), Verified: true, Fill: func(piece []byte) { rest = rest[copy(piece, rest):] }})
	return true
}

// Output implements netif.Port.
func (w *world) Output(o *netif.Outgoing, hop *netif.Hop) netif.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return netif.Full
	}
	if f := w.once; f != nil {
		w.once = nil
		f()
		return netif.Full
	}
	if w.card != nil {
		w.card(o)
	}
	if w.unknown {
		return netif.Unknown
	}
	switch {
	case w.lost:
		return netif.Unreachable
	case w.paused:
		return netif.Paused
	}
	if w.room > 0 {
		w.room--
		w.full = w.room == 0
	}
	w.untold.Store(true)
	packet := append([]byte(nil), o.Head[:o.IP+o.Transport]...)
	for _, b := range o.Body {
		packet = append(packet, b...)
	}
	if len(packet) != o.IP+o.Transport+o.PayloadLen {
		w.t.Errorf("a packet of %d bytes says it has %d", len(packet), o.IP+o.Transport+o.PayloadLen)
	}
	if o.Sum {
		c := ^checksum.Checksum(packet[o.IP:], 0)
		packet[o.IP+o.SumOffset], packet[o.IP+o.SumOffset+1] = byte(c>>8), byte(c)
	}
	if w.onOutput != nil {
		w.onOutput(packet)
		return netif.Sent
	}
	size := len(packet)
	if o.SegmentSize != 0 {
		size = o.IP + o.Transport + o.SegmentSize
	}
	w.sent, w.sizes = append(w.sent, packet), append(w.sizes, size)
	if w.lossy != nil && !w.lossy(packet, size) {
		return netif.Sent
	}
	// The peer takes large packets as they are.
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	w.wire.InjectInbound(ipv4.ProtocolNumber, pkt)
	pkt.DecRef()
	return netif.Sent
}

// Hold implements netif.Port.
func (w *world) Hold(_ *netif.Outgoing, done func(bool)) netif.Result {
	if w.lost {
		done(true)
		return netif.Unreachable
	}
	w.held = append(w.held, done)
	return netif.Sent
}

// Neighbour implements netif.Port.
func (w *world) Neighbour(remote netip.Addr) netip.Addr {
	if w.router.IsValid() {
		return w.router
	}
	return remote
}

// Input implements netif.Port.
func (w *world) Input(packet []byte) { w.hosts = append(w.hosts, packet) }

// Flush implements netif.Port.
func (w *world) Flush(*netif.Backlog) { w.untold.Store(false) }

// told checks that the card was told of all that was sent.
func (w *world) told() {
	w.t.Helper()
	if w.untold.Load() {
		w.t.Error("packets were sent, and the card was not told")
	}
}

// Inward implements netif.Port.
func (w *world) Inward(o *netif.Outgoing) netif.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf {
		return netif.Unreachable
	}
	b := append([]byte(nil), o.Head[:o.IP+o.Transport]...)
	w.inward = append(w.inward, append(b, bytes.Join(o.Body, nil)...))
	return netif.Sent
}

// FragmentID implements netif.Port.
func (w *world) FragmentID() uint32 {
	w.ids++
	return w.ids
}

// Resolve implements netif.Port.
func (w *world) Resolve(_ netip.Addr, done func(bool)) {
	if w.unresolved == nil {
		done(true)
		return
	}
	*w.unresolved = append(*w.unresolved, done)
}

// Local implements netif.Port. The machine has other addresses only where a test says so.
func (w *world) Local(a netip.Addr) bool {
	if w.moved.Load() {
		return a == elsewhere
	}
	return a == machine || a == machine6 || w.others[a]
}

// Addresses implements netif.Port.
func (w *world) Addresses() uint64 {
	n := 1 + 2*len(w.others)
	if w.moved.Load() {
		n++
	}
	return uint64(n)
}

// MTU implements netif.Port.
func (w *world) MTU() int {
	if w.between != nil {
		w.between()
	}
	return 1500
}

// Hasten implements netif.Port.
func (w *world) Hasten(channel uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hastened = append(w.hastened, channel)
}

// Worked implements netif.Port.
func (w *world) Worked(b *netif.Backlog, work time.Duration) { b.Owe(work) }

// Broadcast, Join and Leave implement netif.Port.
func (w *world) Broadcast(a netip.Addr) bool { return a == everybody || a == network }

func (w *world) Join(group netip.Addr) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if group == unjoinable {
		return errors.New("a group of others")
	}
	w.joined[group]++
	return nil
}

func (w *world) Leave(group netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.joined[group]--; w.joined[group] == 0 {
		delete(w.joined, group)
	}
}

// Source implements netif.Port.
func (w *world) Source(remote netip.Addr) (netip.Addr, bool) {
	switch {
	case remote.Is6():
		return machine6, true
	case w.moved.Load():
		return elsewhere, true
	}
	return machine, true
}

// PathMTU and TooBig implement netif.Port.
func (w *world) PathMTU(remote netip.Addr) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Or(w.paths[remote], 1500)
}

func (w *world) TooBig(remote netip.Addr, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths[remote] = bytes
}

// wait has time pass.
func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	w.now += d
	w.mu.Unlock()
	w.sw.Reap()
}

func (w *world) clock() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) drops() map[string]uint64 {
	m := map[string]uint64{}
	w.sw.Drops(func(name string, n uint64) {
		if n != 0 {
			m[name] = n
		}
	})
	return m
}

// domain is an app's end: a channel and, with start, a stack on it.
type domain struct {
	w       *world
	memory  *arenatest.Memory
	policy  *netns.Policy
	mu      sync.Mutex // of channel, where it is opened anew
	channel *channel.Channel
	user    *user.Channel
	link    *link.Endpoint
	stack   *stack.Stack
	event   chan struct{}
	noticed []abi.Slot // events, by a domain with a stack
}

var owners uint64

func (w *world) domain(listen, connect []string) *domain {
	w.t.Helper()
	return w.domainWith(arena.Params{Large: 64}, listen, connect)
}

// domainWith is domain with an arena of one's own.
func (w *world) domainWith(p arena.Params, listen, connect []string) *domain {
	w.t.Helper()
	policy, err := netns.ParsePolicy(listen, connect)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := arena.NewLayout(p)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &domain{w: w, memory: arenatest.New(w.t, l.Size), policy: policy, event: make(chan struct{}, 1)}
	owners++
	if err := d.open(l, owners); err != nil {
		w.t.Fatal(err)
	}
	// Before its memory is unmapped nobody may use it.
	w.t.Cleanup(func() { w.sw.Detach(d.channel) })
	return d
}

// open opens the domain's channel.
func (d *domain) open(l *arena.Layout, owner uint64) error {
	w := d.w
	a, err := arena.New(l, d.memory, 3)
	if err != nil {
		return err
	}
	c := channel.New(a, 3)
	c.Owner = owner
	c.Notify = func() {
		select {
		case d.event <- struct{}{}:
		default:
		}
	}
	w.sw.Attach(c, d.policy)
	d.mu.Lock()
	d.channel = c
	d.mu.Unlock()
	d.user, err = user.New(unsafe.Pointer(d.memory.Domain()), func() {
		if err := w.sw.Sync(c); err != nil && !errors.Is(err, channel.ErrClosed) && !errors.Is(err, channel.ErrDefunct) {
			w.t.Error(err)
		}
	})
	return err
}

// current is the domain's channel, where it may be opened anew.
func (d *domain) current() *channel.Channel {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel
}

// start gives the domain a stack.
func (d *domain) start() *domain {
	bell := linktest.NewBell()
	d.link = link.New(d.user, 1500, bell.Ring)
	d.link.Events = func(list []abi.Slot, _ bool) {
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		d.noticed = append(d.noticed, list...)
	}
	d.stack = newStack(d.w.t, d.link, machine)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { d.link.Flusher(bell.Wait(stop), nil) })
	wg.Go(func() {
		d.link.Receiver(func() {
			select {
			case <-d.event:
			case <-stop:
				d.channel.Arena().Deactivate()
			}
		})
	})
	d.w.t.Cleanup(func() {
		d.stack.Close()
		d.stack.Wait()
		close(stop)
		wg.Wait()
	})
	return d
}

// request makes a flow request.
func (d *domain) request(r abi.FlowRequest) (abi.FlowRequest, syscall.Errno) {
	errno := d.w.sw.Flow(d.channel, &r)
	return r, errno
}

func (d *domain) bind(proto uint32, port uint16) (abi.FlowRequest, syscall.Errno) {
	return d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: proto, Local: netip.IPv4Unspecified().As16(), LocalPort: uint32(port)})
}

func (d *domain) connect(proto uint32, to netip.Addr, port uint16) (abi.FlowRequest, syscall.Errno) {
	return d.request(abi.FlowRequest{Op: abi.FlowConnect, Protocol: proto, Remote: to.As16(), RemotePort: uint32(port)})
}

func (d *domain) listen(port uint16) {
	d.w.t.Helper()
	r, errno := d.bind(6, port)
	if errno == 0 {
		_, errno = d.request(abi.FlowRequest{Op: abi.FlowListen, Flow: r.Flow, Generation: r.Generation})
	}
	if errno != 0 {
		d.w.t.Fatalf("listen on %d: %v", port, errno)
	}
}

func full(a netip.Addr, port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{Addr: tcpip.AddrFrom4(a.As4()), Port: port}
}

// echoOnce serves one connection.
func echoOnce(t testing.TB, s *stack.Stack, port uint16) {
	l, err := gonet.ListenTCP(s, tcpip.FullAddress{Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
}

// exchange sends data to an echo and compares what comes back.
func exchange(t testing.TB, c *gonet.TCPConn, n int) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	data := bytes.Repeat([]byte("sluice"), n/6+1)[:n]
	go func() { c.Write(data); c.CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(data), err)
	}
	c.Close()
}

// TestListenerAcceptsFromOutside (listener): peers connect to a domain, one after the other.
func TestListenerAcceptsFromOutside(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80"}, nil).start()
	d.listen(80)
	echoOnce(t, d.stack, 80)
	for range 3 {
		c, err := gonet.DialTCP(w.peer, full(machine, 80), ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err, w.drops())
		}
		exchange(t, c, 300_000)
	}
	if m := w.drops(); len(m) != 0 {
		t.Errorf("%v", m)
	}
}

func TestConnectToOutside(t *testing.T) {
	w := newWorld(t)
	echoOnce(t, w.peer, 7)
	d := w.domain(nil, []string{"tcp/*:7"}).start()
	r, errno := d.connect(6, outside, 7)
	if errno != 0 {
		t.Fatal(errno)
	}
	c, err := gonet.DialTCPWithBind(context.Background(), d.stack, full(machine, uint16(r.LocalPort)), full(outside, 7), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err, w.drops())
	}
	exchange(t, c, 300_000)
	if _, errno := d.connect(6, outside, 8); errno != syscall.EACCES {
		t.Errorf("a peer that is not allowed: %v", errno)
	}
}

// TestTwoDomainsOfOneMachine (utunloop): what one sends the other does not leave the machine.
func TestTwoDomainsOfOneMachine(t *testing.T) {
	w := newWorld(t)
	a := w.domain([]string{"tcp/7"}, nil).start()
	a.listen(7)
	echoOnce(t, a.stack, 7)
	b := w.domain(nil, []string{"tcp/*:7"}).start()
	r, errno := b.connect(6, machine, 7)
	if errno != 0 {
		t.Fatal(errno)
	}
	c, err := gonet.DialTCPWithBind(context.Background(), b.stack, full(machine, uint16(r.LocalPort)), full(machine, 7), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err, w.drops())
	}
	exchange(t, c, 100_000)
	if len(w.sent) != 0 {
		t.Errorf("%d packets left the machine", len(w.sent))
	}
}
