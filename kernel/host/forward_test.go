package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// routed is a router between two hosts:
//
//	a 192.0.2.2, 2001:db8:1::2 | .1 ::1 router .1 ::1 | b 198.51.100.2, 2001:db8:2::2
type routed struct {
	a, b   *Stack
	near   *port // a's
	far    *port // b's
	cards  [2]*port
	stacks [2]*Stack
	core   *forward.Core
	routes *rib.Table
	f      *Forwarder
	// tap sees what the router sends to a, and says whether a gets it.
	tap atomic.Pointer[func(frame []byte) bool]
}

// newRouted starts them; o are the offloads of a, the router's two cards, and b.
func newRouted(t testing.TB, o [4]nic.Offloads, change func(*routed)) *routed {
	t.Helper()
	start := time.Now()
	now := func() time.Duration { return time.Since(start) }
	r := &routed{routes: rib.New(100, now)}
	r.core = forward.New(forward.Config{Routes: r.routes, Seed: 1, Now: now})
	r.f = NewForwarder(r.core, r.routes)
	r.near, r.cards[0] = newCable(o[0], o[1])
	r.cards[1], r.far = newCable(o[2], o[3])
	for i, p := range []*port{r.near, r.cards[0], r.cards[1], r.far} {
		p.info.MAC[4] = byte(i)
	}
	if change != nil {
		change(r)
	}
	r.cards[0].onTransmit = func(frame []byte, _ *nic.Packet) bool {
		f := r.tap.Load()
		return f == nil || (*f)(frame)
	}
	config := func(four, six, gw string) Config {
		c := static(four)
		c.IPv6.Address = netip.MustParsePrefix(six)
		if gw != "" {
			c.IPv4.Gateway = netip.MustParseAddr(gw)
		}
		return c
	}
	var cards [2]forward.Card
	var local, connected [2][2][]rib.Route
	publish := func() {
		var list []forward.Card
		for _, c := range cards {
			list = append(list, c)
		}
		r.core.SetCards(list)
		for f := range rib.Family(2) {
			r.routes.Replace(rib.Local, f, append(local[0][f][:len(local[0][f]):len(local[0][f])], local[1][f]...))
			r.routes.Replace(rib.Connected, f, append(connected[0][f][:len(connected[0][f]):len(connected[0][f])], connected[1][f]...))
		}
	}
	lock := make(chan struct{}, 1)
	for i, c := range []Config{config("192.0.2.1/24", "2001:db8:1::1/64", ""), config("198.51.100.1/24", "2001:db8:2::1/64", "")} {
		s, err := New(r.cards[i], c)
		if err != nil {
			t.Fatal(err)
		}
		r.f.Join(s, i)
		s.FollowInterface(func(state *Interface) {
			lock <- struct{}{}
			defer func() { <-lock }()
			cards[i] = forward.Card{MTU: state.MTU, Source4: c.IPv4.Address.Addr(), Source6: c.IPv6.Address.Addr(), Broadcast: state.Broadcast}
			local[i], connected[i] = [2][]rib.Route{}, [2][]rib.Route{}
			for _, a := range state.Addresses {
				f := rib.FamilyOf(a.Addr())
				local[i][f] = append(local[i][f], rib.Route{Prefix: netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), Hops: []rib.Hop{{Card: i}}})
			}
			for _, p := range state.Connected {
				f := rib.FamilyOf(p.Addr())
				connected[i][f] = append(connected[i][f], rib.Route{Prefix: p, Hops: []rib.Hop{{Card: i}}})
			}
			publish()
		})
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		r.stacks[i] = s
	}
	r.a = startStack(t, r.near, config("192.0.2.2/24", "2001:db8:1::2/64", "192.0.2.1"))
	r.b = startStack(t, r.far, config("198.51.100.2/24", "2001:db8:2::2/64", "198.51.100.1"))
	for i, s := range []*Stack{r.a, r.b} {
		gw := tcpip.AddrFrom16(netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", i+1)).As16())
		s.config.router.OnOffLinkRouteUpdated(cardID, header.IPv6EmptySubnet, gw, header.MediumRoutePreference)
	}
	for _, s := range []*Stack{r.a, r.b, r.stacks[0], r.stacks[1]} {
		until(t, "IPv6 address assigned", func() bool { return ready(s) && s.link.local.Load().has6(s.cfg.IPv6.Address.Addr().As16()) })
	}
	for _, s := range []*Stack{r.a, r.b} {
		until(t, "IPv6 gateway", func() bool {
			return nextHop(*s.link.neighbours.routes.Load(), netip.MustParseAddr("2001:db9::1")) != netip.MustParseAddr("2001:db9::1")
		})
	}
	for i, to := range []string{"192.0.2.2", "198.51.100.2", "2001:db8:1::2", "2001:db8:2::2"} {
		until(t, "route to "+to, func() bool { n := r.routes.Lookup(netip.MustParseAddr(to)); return n != nil && n.Hops[0].Card == i%2 })
	}
	return r
}

// count is a counter of the forwarder's.
func (r *routed) count(which forward.Reason) (n uint64) {
	r.core.Counts(func(reason forward.Reason, v uint64) {
		if reason == which {
			n = v
		}
	})
	return n
}

func (r *routed) client() *http.Client {
	return (&pair{a: r.a}).client()
}

var fromA = []string{"198.51.100.2", "[2001:db8:2::2]"}

func TestForwardTransfers(t *testing.T) {
	body := make([]byte, 2<<20)
	Pattern(body, 0)
	for _, tt := range []struct {
		name  string
		o     [4]nic.Offloads
		piece int
		mtu   int // of the far cable
		fifo  bool
	}{
		{name: "none", piece: 2048},
		{name: "odd pieces", piece: 33},
		{name: "checksum", o: [4]nic.Offloads{sumOffloads, sumOffloads, sumOffloads, sumOffloads}, piece: 2048},
		{name: "large through", o: [4]nic.Offloads{allOffloads, allOffloads, allOffloads, allOffloads}, piece: 4096},
		{name: "large to a plain card", o: [4]nic.Offloads{allOffloads, allOffloads, noOffloads, noOffloads}, piece: 2048},
		{name: "large in odd pieces", o: [4]nic.Offloads{allOffloads, allOffloads, allOffloads, noOffloads}, piece: 61},
		{name: "small MTU", o: [4]nic.Offloads{allOffloads, allOffloads, allOffloads, allOffloads}, piece: 2048, mtu: 1280},
		{name: "fifo", o: [4]nic.Offloads{allOffloads, allOffloads, noOffloads, noOffloads}, piece: 2048, fifo: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouted(t, tt.o, func(r *routed) {
				for _, p := range []*port{r.near, r.far, r.cards[0], r.cards[1]} {
					p.piece = tt.piece
				}
				if tt.mtu != 0 {
					r.far.info.MTU, r.cards[1].info.MTU = tt.mtu, tt.mtu
				}
			})
			if tt.fifo {
				for _, s := range r.stacks {
					if err := s.SetQdisc(QdiscFIFO); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, host := range fromA {
				res, err := r.client().Get(fmt.Sprintf("http://%s/bytes?n=%d", host, len(body)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || !bytes.Equal(got, body) {
					t.Fatalf("%s: received %d bytes (%v), want the %d of the pattern", host, len(got), err, len(body))
				}
				res, err = r.client().Post("http://"+host+"/hash", "", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				got, _ = io.ReadAll(res.Body)
				res.Body.Close()
				if want := fmt.Sprintf("%x %d\n", sha256.Sum256(body), len(body)); string(got) != want {
					t.Errorf("%s: hash %q, want %q", host, got, want)
				}
			}
			if r.count(forward.Sent4) == 0 || r.count(forward.Sent6) == 0 {
				t.Errorf("%d packets of IPv4 and %d of IPv6 forwarded", r.count(forward.Sent4), r.count(forward.Sent6))
			}
			for _, reason := range []forward.Reason{forward.BadSum, forward.BadLength, forward.Unsendable, forward.LinkDown, forward.NoRoute} {
				if n := r.count(reason); n != 0 {
					t.Errorf("%s: %d", reason.Name(), n)
				}
			}
			for _, s := range []*Stack{r.a, r.b} {
				if n := s.net.Stats().TCP.ChecksumErrors.Value(); n != 0 {
					t.Errorf("%d TCP checksum errors", n)
				}
			}
		})
	}
}

// datagram sends a datagram of so many bytes from a to a port of b's and returns what comes back.
func (r *routed) datagram(t *testing.T, to string, size int) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := r.a.dial(ctx, "udp", netip.MustParseAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := make([]byte, size)
	Pattern(sent, 0)
	if _, err := c.Write(sent); err != nil {
		return nil, err
	}
	got := make([]byte, size+1)
	n, err := c.Read(got)
	if err == nil && !bytes.Equal(got[:n], sent) {
		t.Errorf("%s: %d bytes came back, not the %d that were sent", to, n, size)
	}
	return got[:n], err
}

// Datagrams pass in one piece, and as fragments of the sender's.
func TestForwardDatagrams(t *testing.T) {
	r := newRouted(t, [4]nic.Offloads{allOffloads, allOffloads, sumOffloads, noOffloads}, nil)
	for _, size := range []int{1, 1000, 1400, 3000, 20000} {
		for _, host := range fromA {
			if _, err := r.datagram(t, host+":7", size); err != nil {
				t.Errorf("%s, %d bytes: %v", host, size, err)
			}
		}
	}
}

// What is too long for the link and may be cut is: the first fragment with what the packet begins
// with, the last with its end.
func TestForwardCuts(t *testing.T) {
	for _, piece := range []int{2048, 61} {
		seen := make(chan []byte, 10)
		r := newRouted(t, [4]nic.Offloads{}, func(r *routed) {
			r.far.info.MTU, r.cards[1].info.MTU = 1280, 1280
			r.near.piece = piece
			r.cards[1].onTransmit = func(frame []byte, _ *nic.Packet) bool {
				if len(frame) > 200 {
					seen <- bytes.Clone(frame)
				}
				return true
			}
		})
		b := r.packet("198.51.100.2", 64, 1500)
		h := header.IPv4(b[ethHeader:])
		h.SetFlagsFragmentOffset(0, 0)
		h.SetChecksum(0)
		h.SetChecksum(^h.CalculateChecksum())
		for i := ethHeader + ipv4Header; i < len(b); i++ {
			b[i] = byte(i * 7)
		}
		for range 2 { // the first one waits for the neighbour
			r.near.inject(b)
			var payload []byte
			for more := true; more; {
				select {
				case f := <-seen:
					h := header.IPv4(f[ethHeader:])
					if int(h.FragmentOffset()) != len(payload) || !h.IsChecksumValid() || h.TTL() != 63 || len(f) > 1294 {
						t.Fatalf("fragment of %d bytes with header %x behind %d bytes", len(f), f[ethHeader:ethHeader+20], len(payload))
					}
					payload, more = append(payload, f[ethHeader+ipv4Header:]...), h.More()
				case <-time.After(patience):
					t.Fatalf("%d bytes came", len(payload))
				}
			}
			if !bytes.Equal(payload, b[ethHeader+ipv4Header:]) {
				t.Errorf("%d bytes came, or others", len(payload))
			}
		}
		if n := r.count(forward.Fragmented); n != 2 {
			t.Errorf("%d packets were cut, want 2", n)
		}
	}
}

// onCable is what a test sends on a's cable and sees there, past a's stack.
type onCable struct {
	r    *routed
	seen chan []byte
}

// tapped puts a tap on what the router sends to a.
func tapped(r *routed, match func(frame []byte) bool) *onCable {
	f := &onCable{r: r, seen: make(chan []byte, 1000)}
	see := func(frame []byte) bool {
		if match(frame) {
			f.seen <- bytes.Clone(frame)
			return false
		}
		return true
	}
	r.tap.Store(&see)
	return f
}

// isError matches errors of either version.
func isError(frame []byte) bool {
	switch {
	case len(frame) < 60:
		return false
	case frame[12] == 0x08 && frame[13] == 0:
		return frame[23] == 1 && frame[34] != 0 && frame[34] != 8
	case frame[12] == 0x86:
		return frame[20] == 58 && frame[54] < 128
	}
	return false
}

// packet makes a datagram from a, with its link header, to the router.
func (r *routed) packet(to string, ttl byte, size int) []byte {
	dst := netip.MustParseAddr(to)
	b := make([]byte, ethHeader+size)
	copy(b, r.cards[0].info.MAC[:])
	copy(b[6:], r.near.info.MAC[:])
	if dst.Is4() {
		b[12] = 8
		h := header.IPv4(b[ethHeader:])
		h.Encode(&header.IPv4Fields{TotalLength: uint16(size), TTL: ttl, Protocol: 17, Flags: header.IPv4FlagDontFragment, SrcAddr: tcpip.AddrFrom4([4]byte{192, 0, 2, 2}), DstAddr: tcpip.AddrFrom4(dst.As4())})
		h.SetChecksum(^h.CalculateChecksum())
	} else {
		b[12], b[13] = 0x86, 0xdd
		src := netip.MustParseAddr("2001:db8:1::2")
		header.IPv6(b[ethHeader:]).Encode(&header.IPv6Fields{PayloadLength: uint16(size - 40), HopLimit: ttl, TransportProtocol: 17, SrcAddr: tcpip.AddrFrom16(src.As16()), DstAddr: tcpip.AddrFrom16(dst.As16())})
	}
	return b
}

// inject has a's card send a frame.
func (p *port) inject(frame []byte) {
	batch := nic.NewBatch(1)
	for !p.Reserve(&batch[0], len(frame)) {
		time.Sleep(time.Millisecond)
	}
	w := cursor{buffers: batch[0].Buffers}
	w.write(frame)
	batch[0].Len = len(frame)
	p.Transmit(batch)
}

// What cannot be sent on is told to who has sent it.
func TestForwardErrors(t *testing.T) {
	r := newRouted(t, [4]nic.Offloads{}, func(r *routed) { r.far.info.MTU, r.cards[1].info.MTU = 1280, 1280 })
	f := tapped(r, isError)
	for _, test := range []struct {
		name, to  string
		ttl       byte
		size      int
		typ, code byte
		reason    forward.Reason
	}{
		{"time exceeded", "198.51.100.2", 1, 100, 11, 0, forward.Expired},
		{"hop limit", "2001:db8:2::2", 1, 100, 3, 0, forward.Expired},
		{"no route", "203.0.113.1", 64, 100, 3, 0, forward.NoRoute},
		{"no route of IPv6", "2001:db9::1", 64, 100, 1, 0, forward.NoRoute},
		{"too big", "198.51.100.2", 64, 1400, 3, 4, forward.TooBig},
		{"too big of IPv6", "2001:db8:2::2", 64, 1400, 2, 0, forward.TooBig},
		{"host unreachable", "198.51.100.77", 64, 100, 3, 1, forward.Unresolved},
		{"address unreachable", "2001:db8:2::77", 64, 100, 1, 3, forward.Unresolved},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := r.count(test.reason)
			r.near.inject(r.packet(test.to, test.ttl, test.size))
			var got []byte
			select {
			case got = <-f.seen:
			case <-time.After(patience):
				t.Fatal("no error came")
			}
			at := 34
			if got[12] == 0x86 {
				at = 54
			}
			if got[at] != test.typ || got[at+1] != test.code {
				t.Errorf("type %d, code %d; want %d, %d", got[at], got[at+1], test.typ, test.code)
			}
			if n := r.count(test.reason) - before; n != 1 {
				t.Errorf("%s is %d more, want 1", test.reason.Name(), n)
			}
		})
	}
}

// A neighbour's packets wait while its address is not known, and are bounded.
func TestForwardHolds(t *testing.T) {
	r := newRouted(t, [4]nic.Offloads{}, nil)
	for i := range 2 * heldEach {
		r.near.inject(r.packet("198.51.100.2", 64, 100+i))
	}
	until(t, "all are sent or dropped", func() bool {
		return r.count(forward.Sent4)+r.count(forward.HeldFull) == 2*heldEach
	})
	if r.count(forward.Sent4) < heldEach {
		t.Errorf("%d sent, want %d at least", r.count(forward.Sent4), heldEach)
	}
	// Many that do not answer cost no more than there is room for.
	for i := range 2 * heldNeighbours {
		r.near.inject(r.packet(fmt.Sprintf("198.51.100.%d", 100+i), 64, 100))
	}
	until(t, "the rest is dropped", func() bool { return r.count(forward.HeldFull) >= heldNeighbours })
	r.f.held.mu.Lock()
	defer r.f.held.mu.Unlock()
	if n := len(r.f.held.cards[1].waiting); n > heldNeighbours {
		t.Errorf("%d neighbours are waited for", n)
	}
}

// A card that takes nothing costs its own packets, and the other none.
func TestForwardFull(t *testing.T) {
	r := newRouted(t, [4]nic.Offloads{}, nil)
	if _, err := r.datagram(t, "198.51.100.2:7", 10); err != nil {
		t.Fatal(err)
	}
	r.far.frozen.Store(true)
	for range 3000 {
		r.near.inject(r.packet("198.51.100.2", 64, 1000))
	}
	until(t, "the queue is full", func() bool { return r.count(forward.QueueFull) > 0 })
	// The router's near card still answers.
	res, err := r.client().Get("http://192.0.2.1/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	r.far.frozen.Store(false)
	r.far.Kick()
	until(t, "what waits has left", func() bool {
		tx := r.stacks[1].link.tx
		tx.mu.Lock()
		defer tx.mu.Unlock()
		return tx.queue.length() == 0
	})
	if _, err := r.datagram(t, "198.51.100.2:7", 11); err != nil {
		t.Errorf("when the card takes frames again: %v", err)
	}
}

// An address of the far card's is reached by the near one.
func TestForwardElsewhere(t *testing.T) {
	r := newRouted(t, [4]nic.Offloads{}, nil)
	for _, host := range []string{"198.51.100.1", "[2001:db8:2::1]"} {
		res, err := r.client().Get("http://" + host + "/bytes?n=100000")
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if n != 100000 || err != nil {
			t.Errorf("%s: %d bytes, %v", host, n, err)
		}
		if _, err := r.datagram(t, host+":7", 100); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if r.count(forward.ToHost) == 0 {
		t.Error("nothing counted as delivered to the other card")
	}
}
