package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/options"
)

var quiet = slog.New(slog.DiscardHandler)

// No peer of a test is given up, however long the host stops both ends.
func init() { httpHeaders, httpStall, idleMax = time.Hour, time.Hour, time.Hour }

func static(address string) Config {
	return Config{
		IPv4: options.IPv4{Address: netip.MustParsePrefix(address)},
		Log:  quiet,
	}
}

// startStack makes and starts a stack, and closes it with the test.
func startStack(t testing.TB, dev nic.Device, cfg Config) *Stack {
	t.Helper()
	s, err := New(dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// await looks again and again whether a condition holds that other goroutines bring about, and
// reports false when it does not in 20 s: what only a time limit would end after 30 s or more is
// not what is waited for. A look counts 100 ms at most, as the host may have stood still.
func await(f func() bool) bool {
	for left := 20 * time.Second; left > 0; {
		began := time.Now()
		if f() {
			return true
		}
		time.Sleep(time.Millisecond)
		left -= min(time.Since(began), 100*time.Millisecond)
	}
	return false
}

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	if !await(f) {
		t.Fatalf("never: %s", what)
	}
}

// pair is two stacks, 192.0.2.1 and .2, on one cable.
type pair struct {
	a, b   *Stack
	pa, pb *port
}

func newPair(t testing.TB, oa, ob nic.Offloads, change ...func(a, b *port)) *pair {
	t.Helper()
	pa, pb := newCable(oa, ob)
	for _, f := range change {
		f(pa, pb)
	}
	ca, cb := static("192.0.2.1/24"), static("192.0.2.2/24")
	ca.IPv6.Address = netip.MustParsePrefix("2001:db8::1/64")
	cb.IPv6.Address = netip.MustParsePrefix("2001:db8::2/64")
	p := &pair{a: startStack(t, pa, ca), b: startStack(t, pb, cb), pa: pa, pb: pb}
	until(t, "both links up", func() bool { return ready(p.a) && ready(p.b) })
	return p
}

// ready says that the link is up and its routes are in use, which follow it a moment later.
func ready(s *Stack) bool {
	return s.LinkUp() && slices.ContainsFunc(s.net.GetRouteTable(), func(r tcpip.Route) bool { return r.NIC == cardID })
}

// client returns an HTTP client on stack a.
func (p *pair) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return nil, err
			}
			return p.a.dial(ctx, network, to)
		},
	}}
}

// ready6 waits until the static IPv6 address of both ends passed DAD.
func (p *pair) ready6(t testing.TB) {
	t.Helper()
	for _, s := range []*Stack{p.a, p.b} {
		until(t, "IPv6 address assigned", func() bool {
			return s.link.local.Load().has6(s.cfg.IPv6.Address.Addr().As16())
		})
	}
}

var (
	noOffloads  = nic.Offloads{}
	sumOffloads = nic.Offloads{TxChecksum: true, RxChecksum: true}
	allOffloads = nic.Offloads{TxChecksum: true, RxChecksum: true, TSO4: true, TSO6: true, LRO4: true, LRO6: true}
	tsoOnly     = nic.Offloads{TxChecksum: true, TSO4: true, TSO6: true}
)

func TestTransfers(t *testing.T) {
	body := make([]byte, 3<<20)
	Pattern(body, 0)
	for _, tt := range []struct {
		name  string
		a, b  nic.Offloads
		piece int
	}{
		{"none", noOffloads, noOffloads, 2048},
		{"none in odd pieces", noOffloads, noOffloads, 33},
		{"checksum", sumOffloads, sumOffloads, 2048},
		{"all", allOffloads, allOffloads, 4096},
		{"all in odd pieces", allOffloads, allOffloads, 61},
		{"tso to a plain card", tsoOnly, noOffloads, 2048},
		{"plain card to lro", noOffloads, allOffloads, 2048},
	} {
		for _, host := range []string{"192.0.2.2", "[2001:db8::2]"} {
			t.Run(tt.name+" "+host, func(t *testing.T) {
				p := newPair(t, tt.a, tt.b, func(a, b *port) { a.piece, b.piece = tt.piece, tt.piece })
				if host[0] == '[' {
					p.ready6(t)
				}
				c := p.client()
				r, err := c.Get(fmt.Sprintf("http://%s/bytes?n=%d", host, len(body)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || !bytes.Equal(got, body) {
					t.Fatalf("received %d bytes (%v), want the %d of the pattern", len(got), err, len(body))
				}
				r, err = c.Post("http://"+host+"/hash", "", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				got, _ = io.ReadAll(r.Body)
				r.Body.Close()
				if want := fmt.Sprintf("%x %d\n", sha256.Sum256(body), len(body)); string(got) != want {
					t.Errorf("hash %q, want %q", got, want)
				}
				for _, s := range []*Stack{p.a, p.b} {
					for _, i := range []counter{rxBadChecksum, rxDropLength, rxDropIPLength, txDropMalformed} {
						if n := s.counters.get(i); n != 0 {
							t.Errorf("%s: %d", counterNames[i], n)
						}
					}
					if n := s.net.Stats().TCP.ChecksumErrors.Value(); n != 0 {
						t.Errorf("%d TCP checksum errors", n)
					}
				}
			})
		}
	}
}

func TestCoalescingMerges(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	r, err := p.client().Get("http://192.0.2.2/bytes?n=1000000")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r.Body)
	r.Body.Close()
	if n != 1000000 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if p.a.counters.get(rxMerged) == 0 {
		t.Error("no segments were merged")
	}
	if p.b.counters.get(txSegmentedSoftware) == 0 {
		t.Error("no large packets were cut")
	}
}

func TestCorruptedSegmentsAreDropped(t *testing.T) {
	count := 0
	p := newPair(t, noOffloads, noOffloads, func(_, b *port) {
		b.onTransmit = func(frame []byte, _ *nic.Packet) bool {
			if len(frame) > 1000 {
				if count++; count%50 == 7 {
					frame[len(frame)-1] ^= 0x10
				}
			}
			return true
		}
	})
	r, err := p.client().Get("http://192.0.2.2/bytes?n=500000")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r.Body)
	r.Body.Close()
	want := make([]byte, 500000)
	Pattern(want, 0)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes arrived (%v), not the pattern", len(got), err)
	}
	if p.a.net.Stats().TCP.ChecksumErrors.Value() == 0 {
		t.Error("no checksum error was counted: the frames were not corrupted")
	}
}

func TestStatusPageAndHealth(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	p.b.cfg.Status = Status{
		Version: "<v1>", BuildID: "abc",
		Memory: func() (uint64, uint64) { return 64 << 20, 12 << 20 },
	}
	for path, want := range map[string][]string{
		"/":         {"&lt;v1&gt;", "abc", "12 of 64 MiB", "192.0.2.2/24", "host_rx_frames", "viewport"},
		"/healthz":  {"ok\n"},
		"/bytes":    {"want /bytes?n=N"},
		"/bytes?n=": {"want /bytes?n=N"},
		"/nothing":  {"404"},
	} {
		r, err := p.client().Get("http://192.0.2.2" + path)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(r.Body)
		r.Body.Close()
		for _, w := range want {
			if !strings.Contains(string(got), w) {
				t.Errorf("%s: %q missing in %s", path, w, got)
			}
		}
	}
}

func TestEcho(t *testing.T) {
	for _, o := range []nic.Offloads{noOffloads, allOffloads} {
		p := newPair(t, o, o)
		p.ready6(t)
		for _, to := range []string{"192.0.2.2", "2001:db8::2"} {
			for _, network := range []string{"tcp", "udp"} {
				c, err := p.a.dial(context.Background(), network, netip.AddrPortFrom(netip.MustParseAddr(to), 7))
				if err != nil {
					t.Fatal(err)
				}
				// 3000 bytes of UDP come in fragments, and take the slow path.
				for _, n := range []int{1, 64, 1400, 3000} {
					sent := make([]byte, n)
					Pattern(sent, int64(n))
					if _, err := c.Write(sent); err != nil {
						t.Fatal(err)
					}
					got := make([]byte, n)
					c.SetReadDeadline(time.Now().Add(patience))
					if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
						t.Fatalf("%s %s, %d bytes: %v", network, to, n, err)
					}
				}
				c.Close()
			}
		}
		until(t, "6 datagrams answered fast and 2 slowly", func() bool {
			return p.b.counters.get(udpEchoFast) == 6 && p.b.counters.get(udpEchoSlow) == 2
		})
	}
}

func TestEchoDoesNotAnswerServers(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	c, err := gonet.DialUDP(p.a.net, &tcpip.FullAddress{Port: 53},
		&tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{192, 0, 2, 2}), Port: echoPort}, protocolOf(netip.MustParseAddr("192.0.2.2")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, n := range []int{10, 2000} {
		c.Write(make([]byte, n))
	}
	until(t, "both datagrams dropped", func() bool { return p.b.counters.get(udpEchoDropPort) == 2 })
}

func TestDiscard(t *testing.T) {
	p := newPair(t, allOffloads, allOffloads)
	c, err := p.a.dial(context.Background(), "tcp", netip.MustParseAddrPort("192.0.2.2:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectionLimit(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	to := netip.MustParseAddrPort("192.0.2.2:9")
	echoes := func(c net.Conn) bool {
		c.SetDeadline(time.Now().Add(patience))
		_, err := c.Write([]byte("x"))
		return err == nil
	}
	var open []net.Conn
	for range p.b.lim.discardConnections {
		c, err := p.a.dial(context.Background(), "tcp", to)
		if err != nil || !echoes(c) {
			t.Fatalf("connection within the limit: %v", err)
		}
		open = append(open, c)
	}
	if c, err := p.a.dial(context.Background(), "tcp", to); err == nil {
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the connection over the limit got data")
		}
	}
	until(t, "the refusal counted", func() bool { return p.b.counters.get(connRefusedLimit) >= 1 })
	for _, c := range open {
		c.Close()
	}
	until(t, "a connection after the others closed", func() bool {
		before := p.b.counters.get(connRefusedLimit)
		c, err := p.a.dial(context.Background(), "tcp", to)
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = c.Read(make([]byte, 1))
		e, ok := err.(net.Error)
		return ok && e.Timeout() && p.b.counters.get(connRefusedLimit) == before
	})
}

func TestPing(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	p.ready6(t)
	for _, to := range []string{"192.0.2.2", "2001:db8::2", "127.0.0.1", "::1", "192.0.2.1"} {
		g, err := p.a.NewPinger(netip.MustParseAddr(to))
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint16(3) {
			e, err := g.Ping(context.Background(), seq, patience)
			if err != nil || e.From.String() != to || e.Sequence != seq || e.Bytes != 64 || e.TTL != 64 {
				t.Errorf("ping %s: %+v, %v", to, e, err)
			}
		}
		g.Close()
	}
	if _, err := p.a.NewPinger(netip.MustParseAddr("198.51.100.1")); err == nil {
		t.Error("an address without a route was accepted")
	}
	g, err := p.a.NewPinger(netip.MustParseAddr("192.0.2.99"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.Ping(ctx, 1, time.Hour); err != context.Canceled {
		t.Errorf("cancelled ping: %v", err)
	}
	if _, err := g.Ping(context.Background(), 2, time.Nanosecond); err != ErrNoReply {
		t.Errorf("ping of nobody: %v", err)
	}
}

func TestSnapshots(t *testing.T) {
	p := newPair(t, allOffloads, allOffloads)
	p.ready6(t)
	if r, err := p.client().Get("http://192.0.2.2/healthz"); err != nil {
		t.Fatal(err)
	} else {
		r.Body.Close()
	}
	var got []string
	for _, a := range p.a.Addresses() {
		got = append(got, a.Link+" "+a.Prefix.String())
	}
	for _, want := range []string{"lo 127.0.0.1/8", "lo ::1/128", "eth0 192.0.2.1/24", "eth0 2001:db8::1/64"} {
		if !strings.Contains(strings.Join(got, ","), want) {
			t.Errorf("address %s missing in %v", want, got)
		}
	}
	n := p.a.Neighbours()
	found := false
	for _, e := range n {
		found = found || e.Address.String() == "192.0.2.2" && e.MAC == "52:54:00:00:00:02" && e.State != ""
	}
	if !found {
		t.Errorf("neighbours %+v", n)
	}
	if r := p.a.Routes(); len(r) != 3 || r[0].Destination.String() != "192.0.2.0/24" || r[0].Source.String() != "192.0.2.1" {
		t.Errorf("routes %+v", r)
	}
	if l := p.a.Links(); !l[1].Up || l[1].MAC != "52:54:00:00:00:01" || l[1].MTU != 1500 || len(l[1].Offloads) != 6 {
		t.Errorf("links %+v", l)
	}
	var accepted uint64
	for _, g := range p.b.Statistics() {
		for _, l := range g.Lines {
			if g.Name == "Tcp" && l.Text == "passive connection openings" {
				accepted = l.Value
			}
		}
	}
	if accepted != 1 {
		t.Errorf("passive connection openings: %d", accepted)
	}
	if _, err := p.a.Lookup(context.Background(), "sluice.test"); err == nil {
		t.Error("a name was found without a server")
	}
}

func TestLinkDownAndUp(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	c, err := p.a.dial(context.Background(), "tcp", netip.MustParseAddrPort("192.0.2.2:7"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.pb.setLink(false)
	until(t, "link down", func() bool { return !p.b.LinkUp() && len(p.b.Routes()) == 0 })
	p.pb.setLink(true)
	until(t, "link up", func() bool { return p.b.LinkUp() && len(p.b.Routes()) > 0 })
	// The connection made before the outage still works.
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("connection after the outage: %v", err)
	}
}

func TestRingFullQueuesAndDrains(t *testing.T) {
	// b's ring starts nearly empty: everything goes through the queue.
	p := newPair(t, noOffloads, noOffloads, func(_, b *port) { b.free = b.free[:3] })
	r, err := p.client().Get("http://192.0.2.2/bytes?n=300000")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r.Body)
	r.Body.Close()
	want := make([]byte, 300000)
	Pattern(want, 0)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes (%v), not the pattern", len(got), err)
	}
	if p.b.counters.get(txQueued) == 0 {
		t.Error("nothing was queued")
	}
}

func TestNewRefusesBadDevices(t *testing.T) {
	for _, change := range []func(*port){
		func(p *port) { p.info.MTU = 100 },
		func(p *port) { p.info.MTU = 70000 },
		func(p *port) { p.info.MAC = [6]byte{} },
		func(p *port) { p.info.MAC[0] |= 1 },
	} {
		p := newPort(1, noOffloads)
		change(p)
		if _, err := New(p, static("192.0.2.1/24")); err == nil {
			t.Errorf("accepted %+v", p.info)
		}
	}
}
