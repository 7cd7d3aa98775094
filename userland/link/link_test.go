package link

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	nexus "github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/userland/channel"
	"github.com/sluice-os/sluice/userland/link/linktest"
)

// end is one domain with its channel.
type end struct {
	memory *arenatest.Memory
	kernel *nexus.Channel
	link   *Endpoint
	stack  *stack.Stack
	event  chan struct{}
	// received is closed when the receiver has ended.
	received chan struct{}
	peer     *end
	// full has the wire take nothing.
	mu   sync.Mutex
	full bool
	// without is what is not done for the channel, and look, if it is set, sees what it sends.
	without uint32
	look    func(*nexus.Packet)
}

// newEnds joins two stacks by two channels: what one sends is delivered to the
// other by the kernel's side.
func newEnds(t testing.TB, p arena.Params) (a, b *end) {
	return newEndsWith(t, p, abi.OffloadsAll)
}

// newEndsWith is newEnds with channels for which so much is done.
func newEndsWith(t testing.TB, p arena.Params, offloads uint32) (a, b *end) {
	a, b = &end{without: abi.OffloadsAll &^ offloads}, &end{without: abi.OffloadsAll &^ offloads}
	a.peer, b.peer = b, a
	for i, e := range []*end{a, b} {
		e.setUp(t, p, tcpip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}))
	}
	return a, b
}

func (e *end) setUp(t testing.TB, p arena.Params, addr tcpip.Address) {
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	e.memory = arenatest.New(t, l.Range)
	e.event, e.received = make(chan struct{}, 1), make(chan struct{})
	bell := linktest.NewBell()
	e.link = New(e.open(t, l), 1500, bell.Ring)
	e.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := e.stack.CreateNIC(1, e.link); err != nil {
		t.Fatal(err)
	}
	e.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{
		Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: addr, PrefixLen: 24},
	}, stack.AddressProperties{})
	e.stack.AddRoute(tcpip.Route{Destination: tcpip.AddressWithPrefix{Address: addr, PrefixLen: 24}.Subnet(), NIC: 1})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { e.link.Flusher(bell.Wait(stop), nil) })
	wg.Go(func() {
		defer close(e.received)
		e.link.Receiver(func() {
			select {
			case <-e.event:
			case <-stop:
				e.kernel.Arena().Deactivate()
			}
		})
	})
	t.Cleanup(func() {
		e.stack.Close()
		e.stack.Wait()
		close(stop)
		wg.Wait()
		e.kernel.Close() // the peer may still send to it
	})
}

// open opens the end's channel.
func (e *end) open(t testing.TB, l *arena.Layout) *channel.Channel {
	a, err := arena.New(l, e.memory, 7)
	if err != nil {
		t.Fatal(err)
	}
	kernel := nexus.New(a, 7)
	kernel.SetOffloads(abi.OffloadsAll &^ e.without)
	kernel.Notify = func() {
		select {
		case e.event <- struct{}{}:
		default:
		}
	}
	e.kernel = kernel
	c, err := channel.New(unsafe.Pointer(e.memory.Domain()), func() {
		if err := kernel.Sync(e.forward); err != nil && err != nexus.ErrDefunct {
			t.Error(err)
		}
		e.peer.kernel.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// forward is the wire: it delivers to the peer, and takes nothing when the peer's
// ring is full.
func (e *end) forward(p *nexus.Packet) bool {
	e.mu.Lock()
	full, look := e.full, e.look
	e.mu.Unlock()
	if look != nil {
		look(p)
	}
	if full {
		return false
	}
	data := bytes.Join(p.Pieces, nil)
	e.peer.kernel.Deliver(&nexus.Delivery{Length: len(data), Verified: p.Checksum}, func(piece []byte) { data = data[copy(piece, data):] })
	return true
}

func TestTCPBothWays(t *testing.T) {
	a, b := newEnds(t, arena.Params{Large: 128})
	transfer(t, a, b, 8<<20)
}

// TestResizeUnderLoad has each ring of one end resized all the time.
func TestResizeUnderLoad(t *testing.T) {
	a, b := newEnds(t, arena.Params{Large: 128})
	var resized atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rng := rand.New(rand.NewSource(2))
		for {
			select {
			case <-stop:
				return
			default:
			}
			kind, n := rng.Intn(abi.RingKinds), 32<<rng.Intn(6)
			switch err := a.link.Resize(kind, func() error { return a.kernel.Resize(kind, n) }); {
			case err == nil:
				resized.Add(1)
			case !errors.Is(err, nexus.ErrBusy):
				t.Error(err)
			}
			runtime.Gosched()
		}
	}()
	for resized.Load() < 50 && !t.Failed() {
		transfer(t, a, b, 4<<20)
	}
	close(stop)
	<-done
	if c := a.kernel.Counts(); c.RxTooLong != 0 {
		t.Errorf("%+v", c)
	}
}

// TestSmallPoolsBothWays has so little memory that rings and pools are full, and
// packets lost, all the time: TCP is slow then, but nothing may stand still.
func TestSmallPoolsBothWays(t *testing.T) {
	p := arena.Params{Packets: 64, Buffers: 64, Large: 16}
	for kind := range p.Slots {
		p.Slots[kind] = 32
	}
	a, b := newEnds(t, p)
	transfer(t, a, b, 256<<10)
}

// transfer sends n random bytes each way at the same time, through an echo that
// always reads: two of gVisor's endpoints whose receivers are both full may refuse
// each other's acknowledgements for ever, over any link (the builder corrects that
// for domains).
func transfer(t *testing.T, a, b *end, n int) {
	listener, err := gonet.ListenTCP(b.stack, tcpip.FullAddress{Port: 7}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		read := make(chan []byte, n/512) // what arrives is longer than that
		go func() {
			defer close(read)
			for {
				b := make([]byte, 32<<10)
				got, err := c.Read(b)
				if err != nil {
					return
				}
				read <- b[:got]
			}
		}()
		for b := range read {
			c.Write(b)
		}
	}()
	c, err := gonet.DialTCP(a.stack, tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{10, 0, 0, 2}), Port: 7}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := sha256.New()
	go func() {
		io.CopyN(io.MultiWriter(c, sent), rand.New(rand.NewSource(1)), int64(n))
		c.CloseWrite()
	}()
	got := sha256.New()
	if m, err := io.Copy(got, c); err != nil || m != int64(n) {
		t.Fatalf("%d of %d bytes came back: %v", m, n, err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("the bytes that came back are others")
	}
}

// TestFullCardHoldsPackets has the card take nothing for a while: what was taken is
// sent in order afterwards, and who looks knows when more is refused.
func TestFullCardHoldsPackets(t *testing.T) {
	a, b := newEnds(t, arena.Params{})
	to := &tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{10, 0, 0, 2}), Port: 9}
	in, err := gonet.DialUDP(b.stack, to, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := gonet.DialUDP(a.stack, nil, to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a.mu.Lock()
	a.full = true
	a.mu.Unlock()
	sent := 0
	for ; !a.link.Congested() && sent < 2000; sent++ {
		if _, err := out.Write([]byte{byte(sent)}); err != nil {
			t.Fatal(err)
		}
	}
	// The next one is refused: gVisor drops it without a word to its writer.
	if _, err := out.Write([]byte("too much")); err != nil {
		t.Fatal(err)
	}
	if sent < waitingMax || sent == 2000 {
		t.Fatalf("%d datagrams were taken: %+v %+v", sent, a.link.Counts(), a.kernel.Counts())
	}
	a.mu.Lock()
	a.full = false
	a.mu.Unlock()
	if err := a.kernel.Resume(a.forward); err != nil {
		t.Fatal(err)
	}
	b.kernel.Flush()
	in.SetReadDeadline(time.Now().Add(patience))
	var one [4]byte
	for i := range sent {
		if n, err := in.Read(one[:]); err != nil || n != 1 || one[0] != byte(i) {
			t.Fatalf("datagram %d of %d: %v, %v", i, sent, one[:n], err)
		}
	}
	if c := a.link.Counts(); c.Waited != waitingMax || c.Refused != [RefusalCount]uint64{RefusedFull: 1} {
		t.Errorf("%+v", c)
	}
}

// TestBareSegmentsAreBounded has the card take nothing while acknowledgements are written,
// as a peer can bring about without end: no send buffer bounds them. Segments with data
// wait whatever their number.
func TestBareSegmentsAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload int
		refused bool
	}{{"bare", 0, true}, {"data", 1, false}} {
		a, _ := newEnds(t, arena.Params{})
		a.mu.Lock()
		a.full = true
		a.mu.Unlock()
		const count = 2000
		taken := 0
		for range count {
			pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
				ReserveHeaderBytes: header.IPv4MinimumSize + header.TCPMinimumSize,
				Payload:            buffer.MakeWithData(make([]byte, tt.payload)),
			})
			pkt.TransportHeader().Push(header.TCPMinimumSize)
			pkt.TransportProtocolNumber = header.TCPProtocolNumber
			pkt.NetworkHeader().Push(header.IPv4MinimumSize)
			var list stack.PacketBufferList
			list.PushBack(pkt)
			n, _ := a.link.WritePackets(list)
			taken += n
			pkt.DecRef()
		}
		c := a.link.Counts()
		if tt.refused != (taken < count) || c.Refused != [RefusalCount]uint64{RefusedBare: uint64(count - taken)} || tt.refused && c.Waited != bareMax {
			t.Errorf("%s: %d of %d were taken, %+v", tt.name, taken, count, c)
		}
		a.mu.Lock()
		a.full = false
		a.mu.Unlock()
		// When they have left, as many may wait again.
		for left := 1; left > 0; runtime.Gosched() {
			if err := a.kernel.Resume(func(*nexus.Packet) bool { return true }); err != nil {
				t.Fatal(err)
			}
			a.link.mu.Lock()
			left = len(a.link.waiting) + a.link.bare
			a.link.mu.Unlock()
		}
	}
}

// TestRoomWithoutAnEvent: room that a sync of the domain's own has made is told by no
// event; what waited goes on nevertheless, with the next that is sent.
func TestRoomWithoutAnEvent(t *testing.T) {
	a, b := newEnds(t, arena.Params{})
	to := &tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{10, 0, 0, 2}), Port: 9}
	in, err := gonet.DialUDP(b.stack, to, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := gonet.DialUDP(a.stack, nil, to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a.mu.Lock()
	a.full = true
	a.mu.Unlock()
	sent := 0
	for ; !a.link.Congested() && sent < 2000; sent++ {
		if _, err := out.Write([]byte{byte(sent)}); err != nil {
			t.Fatal(err)
		}
	}
	a.mu.Lock()
	a.full = false
	a.mu.Unlock()
	if _, err := out.Write([]byte("refused")); err != nil {
		t.Fatal(err)
	}
	in.SetReadDeadline(time.Now().Add(patience))
	var one [4]byte
	for i := range sent {
		if n, err := in.Read(one[:]); err != nil || n != 1 || one[0] != byte(i) {
			t.Fatalf("datagram %d of %d: %v, %v", i, sent, one[:n], err)
		}
	}
}

// TestRenew: what waits for a channel that is defunct is lost, what is sent while there is
// none likewise, and over the next one packets pass.
func TestRenew(t *testing.T) {
	a, b := newEnds(t, arena.Params{})
	a.mu.Lock()
	a.full = true
	a.mu.Unlock()
	from, to := netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("10.0.0.2:9")
	out, err := gonet.DialUDP(a.stack, nil, &tcpip.FullAddress{Addr: tcpip.AddrFrom4(to.Addr().As4()), Port: 9}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for !a.link.Congested() {
		out.Write([]byte("waits"))
	}
	told := make(chan struct{}, 1)
	a.link.Room = func() { told <- struct{}{} }
	if a.link.SendDatagram(from, to, 0, 0, []byte("refused")) {
		t.Error("there was room")
	}
	// The test renews: the receiver of newEnds has ended when the channel is defunct.
	if _, err := a.kernel.Defunct(); err != nil {
		t.Fatal(err)
	}
	a.kernel.Wake()
	<-a.received
	if !a.link.SendDatagram(from, to, 0, 0, []byte("lost")) || a.link.Active() {
		t.Error("what is sent without a channel is not lost but refused")
	}
	failure := errors.New("no memory")
	if err := a.link.Renew(func() (*channel.Channel, error) { return nil, failure }); err != failure {
		t.Errorf("no memory: %v", err)
	}
	<-told
	if c := a.link.Counts(); c.Lost != waitingMax+1 || c.Channels != 1 {
		t.Errorf("%+v", c)
	}
	in, err := gonet.DialUDP(b.stack, &tcpip.FullAddress{Addr: tcpip.AddrFrom4(to.Addr().As4()), Port: 9}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := a.link.Renew(func() (*channel.Channel, error) {
		layout := a.kernel.Arena().Layout
		a.kernel.Close()
		a.kernel.Arena().Free()
		a.mu.Lock()
		a.full = false
		a.mu.Unlock()
		return a.open(t, layout), nil
	}); err != nil {
		t.Fatal(err)
	}
	if !a.link.SendDatagram(from, to, 0, 0, []byte("passes")) || a.link.Counts().Channels != 2 {
		t.Error("there was no room")
	}
	in.SetReadDeadline(time.Now().Add(patience))
	var one [9]byte
	if n, err := in.Read(one[:]); err != nil || string(one[:n]) != "passes" {
		t.Errorf("%q, %v", one[:n], err)
	}
}

var _ net.Conn = (*gonet.TCPConn)(nil)

// TestAddressUnreachable: gVisor is told of an error that it does not know as of one that it
// does, with the right sum; other packets stay as they are.
func TestAddressUnreachable(t *testing.T) {
	key := packet.Key{Version: 6, Proto: packet.TCP, Local: [16]byte{0x20, 15: 1}, Remote: [16]byte{0x20, 15: 2}, LocalPort: 1000, RemotePort: 80}
	key4 := packet.Key{Version: 4, Proto: packet.TCP, Local: netip.MustParseAddr("10.0.0.1").As16(), Remote: netip.MustParseAddr("10.0.0.2").As16()}
	for _, tt := range []struct {
		key  packet.Key
		what [2]byte
		want byte
	}{{key, flow.HostUnreachable, 0}, {key, flow.PortUnreachable, 4}, {key4, [2]byte{3, 3}, 3}} {
		for n := range uint16(1000) { // of all sums
			tt.key.LocalPort = n * 64
			b := flow.BuildUnreachable(nil, &tt.key, tt.what)
			noRoute(b)
			in, why := packet.Parse(b, len(b))
			if why != packet.OK || b[in.HeaderLen+1] != tt.want {
				t.Fatalf("code %d, %v, want %d", b[in.HeaderLen+1], why, tt.want)
			}
			var s packet.Sum
			if in.Version == 6 {
				s.AddPseudo(&in.Src, &in.Dst, 6, packet.ICMPv6, len(b)-40)
			}
			s.Add(b[in.HeaderLen:])
			if s.Checksum() != 0 {
				t.Fatalf("code %d, port %d: the sum is wrong", tt.want, n*64)
			}
		}
	}
	noRoute(flow.BuildUnreachable(nil, &key, flow.HostUnreachable)[:43])
}

// TestOneFlushForAll: all that is sent before a flush asks for it once, and what is sent on behalf
// of the flush goes with it; what is sent afterwards asks again.
func TestOneFlushForAll(t *testing.T) {
	a, _ := newEnds(t, arena.Params{})
	wakes := 0
	e := New(a.link.channel.Load(), 1500, func() { wakes++ })
	from, to := netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:9")
	send := func() {
		if !e.SendDatagram(from, to, 0, 0, []byte{1}) {
			t.Error("a datagram is not sent")
		}
	}
	for want := 1; want <= 3; want++ {
		if send(); wakes != want {
			t.Fatalf("the flusher was woken %d times, want %d", wakes, want)
		}
		send()
		for rounds := 0; rounds < 2; rounds++ { // the second one has nothing but what before sends
			more := true
			e.Flusher(func() bool { defer func() { more = false }(); return more }, send)
			if e.dirty {
				t.Fatal("something is left to flush")
			}
		}
		if wakes != want {
			t.Fatalf("the flusher was woken %d times for one flush", wakes-want+1)
		}
	}
}
