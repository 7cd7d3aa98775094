package flowswitch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/view"
	user "github.com/sluice-os/sluice/userland/channel"
	"github.com/sluice-os/sluice/userland/link"
	"github.com/sluice-os/sluice/userland/link/linktest"
	"github.com/sluice-os/sluice/userland/names"
	"github.com/sluice-os/sluice/userland/posix"
	"github.com/sluice-os/sluice/userland/socket"
)

// This file owns what becomes of flows, names and sockets when a channel is defunct.

// defunct takes the memory of the domain's channel back.
func (d *domain) defunct() {
	d.w.t.Helper()
	held := d.memory.Used()
	freed, err := d.w.sw.Defunct(d.current())
	if err != nil || freed != held-arena.PageSize {
		d.w.t.Fatalf("%d of %d bytes were freed, %v", freed, held, err)
	}
}

// TestDefunctChannelHasNoFlows: the peers of open connections are reset, the flows are
// gone, the ports are anybody's, requests are ENXIO; other domains are not touched.
func TestDefunctChannelHasNoFlows(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80", "udp/53"}, []string{"udp/*:9"}).start()
	d.listen(80)
	echoOnce(t, d.stack, 80)
	if _, errno := d.bind(17, 53); errno != 0 {
		t.Fatal(errno)
	}
	beside := w.domain([]string{"tcp/81"}, nil).start()
	beside.listen(81)
	echoOnce(t, beside.stack, 81)
	c, err := gonet.DialTCP(w.peer, full(machine, 80), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if got := text(channel.Table(w.sw.All())); strings.Contains(got, "defunct") {
		t.Errorf("before:\n%s", got)
	}
	d.defunct()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("the peer reads %v", err)
	}
	if err := w.sw.Sync(d.channel); !errors.Is(err, channel.ErrDefunct) {
		t.Errorf("a sync: %v", err)
	}
	if _, errno := d.bind(17, 53); errno != syscall.ENXIO {
		t.Errorf("a request: %v", errno)
	}
	if got := text(channel.Table(w.sw.All())); strings.Count(got, "defunct") != 1 || !strings.Contains(got, "4096") {
		t.Errorf("after:\n%s", got)
	}
	if got := text(w.sw.Flows()); strings.Count(got, "\n") != 2 || !strings.Contains(got, "*:81") {
		t.Errorf("the flows are\n%s", got)
	}
	next := w.domain([]string{"tcp/80", "udp/53"}, nil).start()
	next.listen(80)
	echoOnce(t, next.stack, 80)
	if _, errno := next.bind(17, 53); errno != 0 {
		t.Errorf("a port of the defunct channel's: %v", errno)
	}
	for _, port := range []uint16{80, 81} {
		c, err := gonet.DialTCP(w.peer, full(machine, port), ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, 10_000)
	}
	w.sw.Detach(d.channel)
	w.sw.Detach(d.channel)
	w.mu.Lock()
	if !slices.Contains(w.hastened, d.channel.ID) {
		t.Errorf("channels %v do not wait any more, want %d too", w.hastened, d.channel.ID)
	}
	w.mu.Unlock()
	if err := w.sw.Sync(d.channel); !errors.Is(err, channel.ErrClosed) {
		t.Errorf("a sync of a closed one: %v", err)
	}
}

// TestDefunctBesideAnotherOfTheDomain: the flows of a domain's other channel stay.
func TestDefunctBesideAnotherOfTheDomain(t *testing.T) {
	w := newWorld(t)
	d, other := w.domain([]string{"udp/*"}, nil), w.domain([]string{"udp/*"}, nil)
	w.sw.Detach(other.channel)
	l := other.channel.Arena().Layout
	other.channel.Arena().Free()
	if err := other.open(l, d.channel.Owner); err != nil {
		t.Fatal(err)
	}
	if _, errno := d.bind(17, 53); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := other.bind(17, 54); errno != 0 {
		t.Fatal(errno)
	}
	d.defunct()
	if got := text(w.sw.Flows()); strings.Count(got, "\n") != 2 || !strings.Contains(got, "*:54") {
		t.Errorf("the flows are\n%s", got)
	}
	if _, errno := other.bind(17, 54); errno != syscall.EADDRINUSE {
		t.Errorf("the other channel's port: %v", errno)
	}
	if _, errno := other.bind(17, 53); errno != 0 {
		t.Errorf("the defunct channel's port: %v", errno)
	}
}

// TestLocalPeerIsReset: a connection to another domain of the machine ends for that one
// too.
func TestLocalPeerIsReset(t *testing.T) {
	for name, end := range map[string]func(*domain){
		"defunct": func(d *domain) { d.defunct() },
		"closed":  func(d *domain) { d.w.sw.Detach(d.channel) },
	} {
		t.Run(name, func(t *testing.T) {
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
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			c.Write([]byte("x"))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			end(a)
			if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
				t.Errorf("the domain's peer reads %v", err)
			}
			if len(w.sent) != 0 {
				t.Errorf("%d packets left the machine", len(w.sent))
			}
		})
	}
}

// TestEphemeralPortByNumber: who may send datagrams gets a port of the ephemeral range by
// its number, and no other.
func TestEphemeralPortByNumber(t *testing.T) {
	w := newWorld(t)
	d, e := w.domain(nil, []string{"udp/*:9"}), w.domain(nil, []string{"tcp/*:9"})
	for _, c := range []struct {
		d    *domain
		port uint16
		want syscall.Errno
	}{{d, 40000, 0}, {d, 40000, syscall.EADDRINUSE}, {d, 32767, syscall.EACCES}, {d, 61000, syscall.EACCES}, {e, 40001, syscall.EACCES}} {
		if _, errno := c.d.bind(17, c.port); errno != c.want {
			t.Errorf("port %d: %v, want %v", c.port, errno, c.want)
		}
	}
}

// program is a domain with sockets, which opens its channel anew.
type program struct {
	*domain
	*socket.Stack
	names *names.Names
	short atomic.Bool   // it finds no memory for a channel
	retry chan struct{} // has it try again
}

// run gives the domain sockets.
func (d *domain) run() *program {
	t := d.w.t
	layout := d.channel.Arena().Layout
	p := &program{domain: d, retry: make(chan struct{}, 1)}
	p.names = names.New(func(r *abi.FlowRequest) syscall.Errno {
		return d.w.sw.Flow(d.current(), r)
	})
	bell := linktest.NewBell()
	d.link = link.New(d.user, 1500, bell.Ring)
	d.stack = newStack(t, d.link, machine)
	p.Stack = &socket.Stack{Net: d.stack, Names: p.names, Wire: d.link, WireNIC: 1, Full: d.link.Congested}
	d.link.Datagram = func(in *link.Datagram) bool {
		return p.Deliver(&socket.Datagram{From: in.From, To: in.To, Pieces: in.Pieces, Length: in.Length, Valid: in.Valid})
	}
	d.link.Room = p.Room
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { d.link.Flusher(bell.Wait(stop), nil) })
	wg.Go(func() {
		ended := false
		wait := func() {
			select {
			case <-d.event:
			case <-p.retry:
			case <-stop:
				if !ended {
					ended = true
					d.channel.Arena().Deactivate()
				}
			}
		}
		for {
			d.link.Receiver(wait)
			for !ended && p.names.Renew(p.ResetConnections, func() error { return d.link.Renew(func() (*user.Channel, error) { return p.reopen(layout) }) }) != nil {
				wait()
			}
			if ended {
				return
			}
		}
	})
	t.Cleanup(func() {
		d.stack.Close()
		d.stack.Wait()
		close(stop)
		wg.Wait()
	})
	return p
}

// reopen is the kernel's part of opening the channel anew.
func (p *program) reopen(l *arena.Layout) (*user.Channel, error) {
	if p.short.Load() {
		return nil, user.ErrDefunct
	}
	old := p.current()
	p.w.sw.Detach(old)
	old.Arena().Free()
	if err := p.open(l, old.Owner); err != nil {
		return nil, err
	}
	return p.user, nil
}

// sock is a socket whose calls wait.
type sock struct {
	posix.Socket
	t     testing.TB
	ready chan struct{}
}

func (p *program) socket(kind int) *sock {
	k, errno := p.Socket(syscall.AF_INET, kind, 0)
	if errno != 0 {
		p.w.t.Fatal(errno)
	}
	return p.wrap(k)
}

func (p *program) wrap(k posix.Socket) *sock {
	s := &sock{k, p.w.t, make(chan struct{}, 1)}
	s.Notify(func(int) {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	})
	p.w.t.Cleanup(s.Close)
	return s
}

// wait repeats a call until it does not give EAGAIN.
func (s *sock) wait(call func() syscall.Errno) syscall.Errno {
	for {
		if errno := call(); errno != syscall.EAGAIN {
			return errno
		}
		select {
		case <-s.ready:
		case <-time.After(patience):
			s.t.Error("a socket is not ready")
			return syscall.ETIMEDOUT
		}
	}
}

func (s *sock) must(what string, errno syscall.Errno) {
	s.t.Helper()
	if errno != 0 {
		s.t.Fatalf("%s: %v", what, errno)
	}
}

func (s *sock) read() (b []byte, from netip.AddrPort, errno syscall.Errno) {
	b = make([]byte, 100)
	var n int
	errno = s.wait(func() (errno syscall.Errno) {
		n, from, _, errno = s.Receive(b, 0)
		return errno
	})
	return b[:n], from, errno
}

// serve accepts connections and echoes, until the listener fails.
func (p *program) serve(l *sock) {
	for {
		var c posix.Socket
		if l.wait(func() (errno syscall.Errno) { c, _, errno = l.Accept(); return errno }) != 0 {
			return
		}
		go func() {
			k := p.wrap(c)
			for {
				b, _, errno := k.read()
				if errno != 0 || len(b) == 0 {
					return
				}
				k.Send(b, 0, netip.AddrPort{})
			}
		}()
	}
}

// once has an echo answer once.
func once(c net.Conn, word string) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(word)); err != nil {
		return err
	}
	b := make([]byte, len(word))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if !bytes.Equal(b, []byte(word)) {
		return errors.New("another echo")
	}
	return nil
}

// TestSocketsOutliveTheirChannel: listeners and sockets of datagrams, connected or not,
// go on with their ports; connections end with a reset for both sides; what a program asks
// for meanwhile waits, or fails when there is no memory for a channel.
func TestSocketsOutliveTheirChannel(t *testing.T) {
	w := newWorld(t)
	echoOnce(t, w.peer, 7)
	p := w.domain([]string{"tcp/80", "udp/53"}, []string{"tcp/*:7", "udp/*:9"}).run()
	l := p.socket(syscall.SOCK_STREAM)
	l.must("bind", l.Bind(netip.MustParseAddrPort("0.0.0.0:80")))
	l.must("listen", l.Listen(8))
	go p.serve(l)
	served, asker := p.socket(syscall.SOCK_DGRAM), p.socket(syscall.SOCK_DGRAM)
	served.must("bind", served.Bind(netip.MustParseAddrPort("0.0.0.0:53")))
	go func() {
		for {
			b, from, errno := served.read()
			if errno != 0 || !from.IsValid() {
				return
			}
			served.Send(b, 0, from)
		}
	}()
	asker.must("connect", asker.Connect(netip.AddrPortFrom(outside, 9)))
	nine, err := gonet.DialUDP(w.peer, &tcpip.FullAddress{Port: 9}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer nine.Close()
	asks := func() {
		t.Helper()
		if _, errno := asker.Send([]byte("question"), 0, netip.AddrPort{}); errno != 0 {
			t.Fatal(errno)
		}
		b := make([]byte, 100)
		nine.SetDeadline(time.Now().Add(patience))
		n, from, err := nine.ReadFrom(b)
		if err != nil {
			t.Fatal(err, w.drops())
		}
		nine.WriteTo(b[:n], from)
		if got, _, errno := asker.read(); errno != 0 || string(got) != "question" {
			t.Errorf("%q, %v", got, errno)
		}
	}
	asks()
	port, _ := asker.Local()
	udp, err := gonet.DialUDP(w.peer, nil, &tcpip.FullAddress{Addr: tcpip.AddrFrom4(machine.As4()), Port: 53}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()

	for round := range 5 {
		stream, err := gonet.DialTCP(w.peer, full(machine, 80), ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err, w.drops())
		}
		if err := errors.Join(once(stream, "hello"), once(udp, "hello")); err != nil {
			t.Fatal(err)
		}
		out := p.socket(syscall.SOCK_STREAM)
		connect := func(k *sock) syscall.Errno {
			first := true
			return k.wait(func() syscall.Errno {
				errno := k.Connect(netip.AddrPortFrom(outside, 7))
				if first && errno == syscall.EINPROGRESS || errno == syscall.EALREADY {
					first, errno = false, syscall.EAGAIN
				}
				return errno
			})
		}
		out.must("connect", connect(out))

		short := round%2 == 1
		p.short.Store(short)
		p.defunct()
		// Both ends of the old connections.
		if _, err := stream.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("the peer reads %v", err)
		}
		if b, _, errno := out.read(); errno == 0 && len(b) > 0 {
			t.Errorf("a connection of the old channel gives %q", b)
		}
		// What is asked for waits for the channel, but not for memory.
		again := p.socket(syscall.SOCK_STREAM)
		if short {
			for errno := syscall.Errno(0); errno != syscall.ENETDOWN; {
				if errno = again.Connect(netip.AddrPortFrom(outside, 7)); errno != syscall.ENETDOWN && errno != syscall.EAGAIN {
					t.Fatalf("without a channel: %v", errno)
				}
			}
			if _, errno := asker.Send([]byte("lost"), 0, netip.AddrPort{}); errno != 0 {
				t.Errorf("a datagram without a channel: %v", errno)
			}
			p.short.Store(false)
			p.retry <- struct{}{}
			again = p.socket(syscall.SOCK_STREAM)
			for errno := syscall.ENETDOWN; errno == syscall.ENETDOWN; {
				errno = connect(again)
				if errno != 0 && errno != syscall.ENETDOWN {
					t.Fatal(errno)
				}
			}
		} else {
			again.must("connect meanwhile", connect(again))
		}
		again.must("send", errnoOf(again.Send([]byte("again"), 0, netip.AddrPort{})))
		if b, _, errno := again.read(); errno != 0 || string(b) != "again" {
			t.Errorf("a new connection: %q, %v", b, errno)
		}
		next, err := gonet.DialTCP(w.peer, full(machine, 80), ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err, w.drops())
		}
		if err := errors.Join(once(next, "accepted"), once(udp, "bound")); err != nil {
			t.Fatal(err, w.drops())
		}
		next.Close()
		asks()
		if now, _ := asker.Local(); now != port {
			t.Errorf("the port is %v, was %v", now, port)
		}
	}
	if n := p.names.Missing(); n != 0 {
		t.Errorf("%d claims are missing", n)
	}
	if c := p.link.Counts(); c.Channels != 6 || c.Lost == 0 {
		t.Errorf("%+v", c)
	}
}

// text is a table as lines.
func text(t *view.Table) string {
	var b strings.Builder
	t.WriteText(&b)
	return b.String()
}

func errnoOf(_ int, errno syscall.Errno) syscall.Errno { return errno }
