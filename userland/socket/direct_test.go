package socket_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/userland/socket"
)

// wire notes what is sent past gVisor.
type wire struct {
	mu      sync.Mutex
	sent    []string
	full    bool
	flushed int
	// paused are the ports from which nothing is sent for now.
	paused map[uint16]bool
	// refuse is how many of the next ones are refused though it is not full.
	refuse int
	class  uint32 // of the last one
	at     []uint64
}

func (w *wire) Longest() int { return 4000 }

func (w *wire) SendDatagram(from, to netip.AddrPort, class uint32, at uint64, b []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paused[from.Port()] {
		return false
	}
	if w.full || w.refuse > 0 {
		w.refuse = max(w.refuse-1, 0)
		return false
	}
	w.class, w.at = class, append(w.at, at)
	w.sent = append(w.sent, fmt.Sprintf("%v %v %d", from, to, len(b)))
	return true
}

func (w *wire) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushed = len(w.sent)
}

func (w *wire) Paused(protocol uint8, port uint16, to netip.AddrPort) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paused[port]
}

func (w *wire) expect(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.sent, want) {
		t.Errorf("sent %q, want %q", w.sent, want)
	}
	w.sent = nil
}

// wired is a side whose interface outside has a wire.
func wired(t *testing.T) (*side, *wire) {
	s, w := newSide(t, nil), &wire{}
	s.stack.Names, s.stack.Wire, s.stack.WireNIC = newNames(), w, 2
	return s, w
}

// arrive delivers a datagram; false says that it is gVisor's.
func arrive(s *side, from, to, text string) bool {
	return s.stack.Deliver(&socket.Datagram{
		From: netip.MustParseAddrPort(from), To: netip.MustParseAddrPort(to), Pieces: [][]byte{[]byte(text)}, Length: len(text),
	})
}

const (
	stranger = "198.51.100.9:99"
	friend   = "198.51.100.5:5"
	here     = "198.51.100.1:"
)

// TestDatagramsPastTheStack has each kind of socket receive and send.
func TestDatagramsPastTheStack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		family int
		at     string
		peer   string // "" for none
		from   string
		taken  bool
	}{
		{"any address", syscall.AF_INET, "0.0.0.0:5000", "", stranger, true},
		{"own address", syscall.AF_INET, here + "5000", "", stranger, true},
		{"any address of both families", syscall.AF_INET6, "[::]:5000", "", stranger, true},
		{"its peer", syscall.AF_INET, "0.0.0.0:5000", friend, friend, true},
		{"a stranger", syscall.AF_INET, "0.0.0.0:5000", friend, stranger, false},
		{"another port", syscall.AF_INET, "0.0.0.0:5001", "", stranger, false},
		{"loopback", syscall.AF_INET, "127.0.0.1:5000", "", stranger, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, w := wired(t)
			fd := s.socket(tt.family, syscall.SOCK_DGRAM, 0)
			if err := s.bind(fd, netip.MustParseAddrPort(tt.at)); err != 0 {
				t.Fatal(err)
			}
			if tt.peer != "" {
				s.connect(fd, netip.MustParseAddrPort(tt.peer))
			}
			s.calm(fd)
			if got := arrive(s, tt.from, here+"5000", "hello"); got != tt.taken {
				t.Fatalf("taken: %v", got)
			}
			if !tt.taken {
				return
			}
			s.await(fd, 'r')
			text, n, from, err := s.recvfrom(fd, 3, syscall.MSG_PEEK|syscall.MSG_TRUNC)
			if text != "hel" || n != 5 || err != 0 || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()).String() != tt.from {
				t.Errorf("peek: %q, %d, %v, %v", text, n, from, err)
			}
			if text, _, _, err = s.recvfrom(fd, 10, 0); text != "hello" || err != 0 {
				t.Errorf("receive: %q, %v", text, err)
			}
			if n, err := s.sendto(fd, "answer", 0, from); n != 6 || err != 0 {
				t.Errorf("send: %d, %v", n, err)
			}
			s.close(fd)
			if w.flushed != 1 {
				t.Error("what was sent is not the kernel's before the port is gone")
			}
			w.expect(t, here+"5000 "+tt.from+" 6")
			if arrive(s, tt.from, here+"5000", "late") {
				t.Error("a closed socket took a datagram")
			}
		})
	}
}

// TestDatagramsOfTheStack are those that gVisor has to send: nothing of them is
// seen on the wire.
func TestDatagramsOfTheStack(t *testing.T) {
	s, w := wired(t)
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
	to := netip.MustParseAddrPort("198.51.100.7:9")
	for _, c := range []struct {
		text string
		to   netip.AddrPort
	}{
		{"loopback", netip.MustParseAddrPort("127.0.0.1:9")},
		{"broadcast", netip.MustParseAddrPort("255.255.255.255:9")},
		{"broadcast", netip.MustParseAddrPort("198.51.100.255:9")},
		{"multicast", netip.MustParseAddrPort("224.0.0.5:9")},
	} {
		s.sendto(fd, c.text, 0, c.to)
		w.expect(t)
	}
	s.sendto(fd, "control", 0, to)
	w.expect(t, here+"5000 198.51.100.7:9 7")
	s.set(fd, syscall.IPPROTO_IP, syscall.IP_TTL, 3)
	s.sendto(fd, "with options", 0, to)
	w.expect(t)
}

// TestSharedPortIsTheStacks has two sockets of one port, and two that fit alike.
func TestSharedPortIsTheStacks(t *testing.T) {
	s, _ := wired(t)
	for range 2 {
		fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		s.set(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
		s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
	}
	if arrive(s, stranger, here+"5000", "x") {
		t.Error("a shared port's datagram went past gVisor")
	}
	// The more specific one is preferred.
	a, b := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0), s.socket(syscall.AF_INET6, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.MustParseAddrPort(here+"5001"))
	s.set(b, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 1)
	s.bind(b, netip.MustParseAddrPort("[::]:5001"))
	if !arrive(s, stranger, here+"5001", "for a") || !arrive(s, "[2001:db8::1]:9", "[2001:db8::2]:5001", "for b") {
		t.Error("not taken")
	}
	for fd, want := range map[uintptr]string{a: "for a", b: "for b"} {
		if text, _, _, err := s.recvfrom(fd, 10, syscall.MSG_DONTWAIT); text != want || err != 0 {
			t.Errorf("%q, %v, want %q", text, err, want)
		}
	}
}

// TestShutPastTheStack: a socket that was shut for sending sends nothing, with or
// without a peer.
func TestShutPastTheStack(t *testing.T) {
	for _, connected := range []bool{false, true} {
		s, w := wired(t)
		fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
		to := netip.MustParseAddrPort(friend)
		if connected {
			s.connect(fd, to)
		}
		if _, err := s.sendto(fd, "before", 0, to); err != 0 {
			t.Errorf("connected %v: send: %v", connected, err)
		}
		w.expect(t, here+"5000 "+friend+" 6")
		s.call(syscall.SYS_SHUTDOWN, fd, syscall.SHUT_WR)
		if _, err := s.sendto(fd, "after", 0, to); err != syscall.EPIPE {
			t.Errorf("connected %v: send after the end: %v", connected, err)
		}
		w.expect(t)
		if !arrive(s, friend, here+"5000", "answer") {
			t.Errorf("connected %v: nothing is received any more", connected)
		}
	}
}

// TestMailboxIsBounded sends without end to a socket that nobody reads.
func TestMailboxIsBounded(t *testing.T) {
	s, _ := wired(t)
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
	text := strings.Repeat("x", 1000)
	for i := range 10_000 {
		if !arrive(s, stranger, here+"5000", text) {
			t.Fatalf("datagram %d went to gVisor", i)
		}
	}
	taken := 0
	for {
		if _, err := s.receive(fd, 1000, syscall.MSG_DONTWAIT); err != 0 {
			break
		}
		taken++
	}
	if dropped := s.drops()["socket_no_room"]; taken < 10 || taken+int(dropped) != 10_000 {
		t.Errorf("%d datagrams were kept and %d dropped", taken, dropped)
	}
}

// TestFullWire has the wire refuse: EAGAIN, and the sender is told of room.
func TestFullWire(t *testing.T) {
	s, w := wired(t)
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
	to := netip.MustParseAddrPort("198.51.100.7:9")
	w.full = true
	s.calm(fd)
	if _, err := s.sendto(fd, "x", syscall.MSG_DONTWAIT, to); err != syscall.EAGAIN {
		t.Fatalf("send: %v", err)
	}
	w.mu.Lock()
	w.full = false
	w.mu.Unlock()
	s.stack.Room()
	s.await(fd, 'w')
	if n, err := s.sendto(fd, "x", syscall.MSG_DONTWAIT, to); n != 1 || err != 0 {
		t.Errorf("send: %d, %v", n, err)
	}
	w.expect(t, here+"5000 198.51.100.7:9 1")
}

// TestPausedSocket: who sends over a flow that is to pause waits for it, or hears ENOBUFS if it
// has said so with IP_RECVERR, whether gVisor would have sent it or not. Others send.
func TestPausedSocket(t *testing.T) {
	s, w := wired(t)
	w.paused = map[uint16]bool{}
	to := netip.MustParseAddrPort("198.51.100.7:9")
	open := func(at string) uintptr {
		fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		if err := s.bind(fd, netip.MustParseAddrPort(at)); err != 0 {
			t.Fatal(err)
		}
		return fd
	}
	fd, other, marked := open("0.0.0.0:5000"), open("0.0.0.0:5001"), open("0.0.0.0:5002")
	s.set(marked, syscall.IPPROTO_IP, syscall.IP_TOS, 0x10) // which leaves it to gVisor
	pause := func(on bool) {
		w.mu.Lock()
		w.paused[5000], w.paused[5002] = on, on
		w.mu.Unlock()
	}
	pause(true)
	for _, fd := range []uintptr{fd, marked} {
		s.calm(fd)
		if _, err := s.sendto(fd, "x", syscall.MSG_DONTWAIT, to); err != syscall.EAGAIN {
			t.Errorf("%v", err)
		}
	}
	if n, err := s.sendto(other, "y", syscall.MSG_DONTWAIT, to); n != 1 || err != 0 {
		t.Errorf("the other one: %d, %v", n, err)
	}
	w.expect(t, "198.51.100.1:5001 198.51.100.7:9 1")
	pause(false)
	s.stack.Room()
	for _, fd := range []uintptr{fd, marked} {
		s.await(fd, 'w')
		if n, err := s.sendto(fd, "x", syscall.MSG_DONTWAIT, to); n != 1 || err != 0 {
			t.Errorf("%d, %v", n, err)
		}
	}
	w.expect(t, "198.51.100.1:5000 198.51.100.7:9 1")
	for _, on := range []int32{1, 0} {
		pause(true)
		for _, fd := range []uintptr{fd, marked} {
			s.set(fd, syscall.IPPROTO_IP, syscall.IP_RECVERR, on)
			want := map[int32]syscall.Errno{1: syscall.ENOBUFS, 0: syscall.EAGAIN}[on]
			if _, err := s.sendto(fd, "x", syscall.MSG_DONTWAIT, to); err != want {
				t.Errorf("IP_RECVERR %d: %v, want %v", on, err, want)
			}
		}
		pause(false)
	}
	// A full link is no pause.
	s.set(fd, syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
	w.full = true
	if _, err := s.sendto(fd, "x", syscall.MSG_DONTWAIT, to); err != syscall.EAGAIN {
		t.Errorf("%v", err)
	}
	w.expect(t)
}

// TestTwoSendersOfOneSocket: one is refused, and then another finds room at its second
// try. The first is told of room nevertheless.
func TestTwoSendersOfOneSocket(t *testing.T) {
	to := netip.MustParseAddrPort("198.51.100.7:9")
	t.Run("past the stack", func(t *testing.T) {
		s, w := wired(t)
		fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
		s.calm(fd)
		w.refuse = 3 // both tries of the first, and one of the second
		if _, err := s.sendto(fd, "first", syscall.MSG_DONTWAIT, to); err != syscall.EAGAIN {
			t.Fatalf("first: %v", err)
		}
		if _, err := s.sendto(fd, "second", syscall.MSG_DONTWAIT, to); err != 0 {
			t.Fatalf("second: %v", err)
		}
		s.stack.Room()
		s.await(fd, 'w')
		if _, err := s.sendto(fd, "first", syscall.MSG_DONTWAIT, to); err != 0 {
			t.Errorf("first again: %v", err)
		}
	})
	t.Run("through the stack", func(t *testing.T) {
		s := newSide(t, nil)
		refuse := 3
		s.stack.Full = func() bool { refuse--; return refuse >= 0 }
		fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		s.calm(fd)
		if _, err := s.sendto(fd, "first", syscall.MSG_DONTWAIT, to); err != syscall.EAGAIN {
			t.Fatalf("first: %v", err)
		}
		if _, err := s.sendto(fd, "second", syscall.MSG_DONTWAIT, to); err != 0 {
			t.Fatalf("second: %v", err)
		}
		s.stack.Room()
		s.await(fd, 'w')
		if _, err := s.sendto(fd, "first", syscall.MSG_DONTWAIT, to); err != 0 {
			t.Errorf("first again: %v", err)
		}
	})
}

// TestTooLongForTheWire: what the kernel would not take is refused at once, instead of
// being lost in fragments. A socket's own way, and loopback, take more.
func TestTooLongForTheWire(t *testing.T) {
	to4, to6 := netip.MustParseAddrPort("198.51.100.7:9"), netip.MustParseAddrPort("[2001:db8::7]:9")
	loop4 := netip.MustParseAddrPort("127.0.0.1:9")
	plain := func(*side, uintptr) {}
	hops := func(s *side, fd uintptr) { s.set(fd, syscall.IPPROTO_IP, syscall.IP_TTL, 3) }
	shared := func(s *side, fd uintptr) { s.set(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) }
	for _, tt := range []struct {
		name      string
		family    int
		protocol  int
		set       func(*side, uintptr)
		to        netip.AddrPort
		most      int // what is taken
		connected bool
		direct    bool
	}{
		{"IPv4", syscall.AF_INET, 0, plain, to4, 4000 - 28, false, true},
		{"IPv4 to a peer", syscall.AF_INET, 0, plain, to4, 4000 - 28, true, true},
		{"IPv6", syscall.AF_INET6, 0, plain, to6, 4000 - 48, false, true},
		{"hops of its own", syscall.AF_INET, 0, hops, to4, 4000 - 28, false, false},
		{"hops of its own, to a peer", syscall.AF_INET, 0, hops, to4, 4000 - 28, true, false},
		{"a shared port", syscall.AF_INET, 0, shared, to4, 4000 - 28, false, false},
		{"loopback", syscall.AF_INET, 0, plain, loop4, 65507, false, false},
		{"loopback as a peer", syscall.AF_INET, 0, plain, loop4, 65507, true, false},
		{"echo", syscall.AF_INET, syscall.IPPROTO_ICMP, plain, to4, 4000 - 20, false, false},
	} {
		s, w := wired(t)
		fd := s.socket(tt.family, syscall.SOCK_DGRAM, tt.protocol)
		tt.set(s, fd)
		to := tt.to
		if tt.connected {
			if err := s.connect(fd, to); err != 0 {
				t.Fatal(tt.name, err)
			}
			to = netip.AddrPort{}
		}
		send := func(n int) syscall.Errno {
			text := "\x08" + strings.Repeat("\x00", n-1) // a request, for an echo
			_, err := s.sendto(fd, text, 0, to)
			return err
		}
		if err := send(tt.most); err != 0 {
			t.Errorf("%s: %d bytes: %v", tt.name, tt.most, err)
		}
		if got := len(w.sent) == 1; got != tt.direct {
			t.Errorf("%s: went past gVisor: %v", tt.name, got)
		}
		for _, n := range []int{tt.most + 1, 65488, 65508} {
			if n <= tt.most {
				continue
			}
			if err := send(n); err != syscall.EMSGSIZE {
				t.Errorf("%s: %d bytes: %v", tt.name, n, err)
			}
		}
	}
}

// TestLongerThanTheBuffer: a datagram that is longer than the whole buffer is taken when
// nothing else waits, as Linux does, over the wire and over loopback.
func TestLongerThanTheBuffer(t *testing.T) {
	s, _ := wired(t)
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.set(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
	s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
	size, _ := s.option(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	long := strings.Repeat("x", size+1)
	for range 3 {
		arrive(s, stranger, here+"5000", long)
		arrive(s, stranger, here+"5000", "beside it") // finds no room
		if text, err := s.receive(fd, size+2, syscall.MSG_DONTWAIT); text != long || err != 0 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		if text, err := s.receive(fd, 10, syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
			t.Errorf("%q, %v", text, err)
		}
	}
	if n := s.drops()["socket_no_room"]; n != 3 {
		t.Errorf("%d were dropped", n)
	}
}

// TestShutForReceiving: what was shut takes nothing, also when its buffer is set
// afterwards. What was there before is read.
func TestShutForReceiving(t *testing.T) {
	for _, how := range []uintptr{syscall.SHUT_RD, syscall.SHUT_RDWR} {
		s, _ := wired(t)
		fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		s.bind(fd, netip.MustParseAddrPort("0.0.0.0:5000"))
		arrive(s, stranger, here+"5000", "before")
		s.call(syscall.SYS_SHUTDOWN, fd, how)
		arrive(s, stranger, here+"5000", "after")
		s.set(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 100_000)
		arrive(s, stranger, here+"5000", "at last")
		for _, want := range []string{"before", "", ""} {
			if text, err := s.receive(fd, 10, syscall.MSG_DONTWAIT); text != want || err != 0 {
				t.Errorf("shut %d: %q, %v, want %q", how, text, err, want)
			}
		}
		if n := s.drops()["socket_closed"]; n != 2 {
			t.Errorf("shut %d: %d dropped", how, n)
		}
	}
}

// TestErrorsBeforeDatagrams: what ICMP says of a peer is told before what has arrived
// past gVisor.
func TestErrorsBeforeDatagrams(t *testing.T) {
	s, _ := wired(t)
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	// Nobody listens there: the answer comes over the interface at once.
	s.connect(fd, netip.AddrPortFrom(outside, 9))
	s.set(fd, syscall.IPPROTO_IP, syscall.IP_TTL, 3) // what is sent is gVisor's
	name := s.local(fd)
	arrive(s, here+"9", name.String(), "datagram")
	if _, err := s.sendto(fd, "to nobody", 0, netip.AddrPort{}); err != 0 {
		t.Fatal(err)
	}
	s.await(fd, 'r')
	text, err := s.receive(fd, 10, syscall.MSG_DONTWAIT)
	if err != syscall.ECONNREFUSED {
		t.Errorf("%q, %v, want the error first", text, err)
	}
	if text, err := s.receive(fd, 10, syscall.MSG_DONTWAIT); text != "datagram" || err != 0 {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := s.receive(fd, 10, syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
		t.Errorf("%v", err)
	}
}
