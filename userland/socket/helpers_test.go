package socket_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/sluice-os/sluice/userland/memfs"
	"github.com/sluice-os/sluice/userland/posix"
	"github.com/sluice-os/sluice/userland/socket"
)

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// outside is an address of the test's stack that is not loopback.
var outside = netip.MustParseAddr("198.51.100.1")

// stacks has the socket maker of each process, as there is one registration.
var stacks sync.Map

func init() {
	posix.RegisterSockets(func(p *posix.Process, domain, kind, protocol int) (posix.Socket, syscall.Errno) {
		s, _ := stacks.Load(p)
		return s.(*socket.Stack).Socket(domain, kind, protocol)
	})
}

// newStack makes a network stack with a loopback interface, and a second one that
// has the address outside.
func newStack(t testing.TB) *stack.Stack {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	add := func(id tcpip.NICID, ip string, bits int) tcpip.Route {
		a := tcpip.AddrFromSlice(netip.MustParseAddr(ip).AsSlice())
		protocol := ipv4.ProtocolNumber
		if a.Len() == 16 {
			protocol = ipv6.ProtocolNumber
		}
		with := tcpip.AddressWithPrefix{Address: a, PrefixLen: bits}
		if err := s.AddProtocolAddress(id, tcpip.ProtocolAddress{Protocol: protocol, AddressWithPrefix: with}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
		return tcpip.Route{Destination: with.Subnet(), NIC: id}
	}
	for id := tcpip.NICID(1); id <= 2; id++ {
		if err := s.CreateNIC(id, loopback.New()); err != nil {
			t.Fatal(err)
		}
	}
	s.SetRouteTable([]tcpip.Route{
		add(1, "127.0.0.1", 8), add(1, "::1", 128), add(2, outside.String(), 24), add(2, "fe80::1", 64), add(2, "2001:db8::1", 64),
	})
	return s
}

// drops are the counters that are not 0.
func (s *side) drops() map[string]uint64 {
	s.t.Helper()
	all, seen := map[string]uint64{}, map[string]bool{}
	s.stack.Drops(func(name string, n uint64) {
		if name == "" || seen[name] {
			s.t.Errorf("two counters are called %q", name)
		}
		if seen[name] = true; n > 0 {
			all[name] = n
		}
	})
	return all
}

// side is where calls go: Linux, or a Process on a stack.
type side struct {
	t     testing.TB
	p     *posix.Process // nil: Linux
	stack *socket.Stack
	log   []string

	mu     sync.Mutex
	events map[event]chan struct{} // PollReady was called
}

// event is that a poller's descriptor may be read ('r') or written ('w').
type event struct {
	pd   uintptr
	mode rune
}

// happened returns the channel of an event.
func (s *side) happened(pd uintptr, mode rune) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[event{pd, mode}]
}

// calm forgets the events of a poller that came so far.
func (s *side) calm(pd uintptr) {
	for _, mode := range "rw" {
		select {
		case <-s.happened(pd, mode):
		default:
		}
	}
}

// newSide makes a Process whose goroutines must be gone at the end.
func newSide(t testing.TB, names socket.Names) *side {
	t.Helper()
	before := runtime.NumGoroutine()
	net := newStack(t)
	s := &side{t: t, events: map[event]chan struct{}{}, stack: &socket.Stack{Net: net, Names: names}}
	s.p = &posix.Process{
		FS: memfs.New(1<<20, func() (int64, int64) { return 0, 0 }),
		PollReady: func(pd uintptr, mode int) {
			for _, m := range map[int]string{'r': "r", 'w': "w", 'r' + 'w': "rw"}[mode] {
				select {
				case s.happened(pd, m) <- struct{}{}:
				default:
				}
			}
		},
	}
	if err := s.p.Init(); err != 0 {
		t.Fatal(err)
	}
	stacks.Store(s.p, s.stack)
	t.Cleanup(func() {
		for fd := uintptr(3); fd < 64; fd++ {
			s.call(syscall.SYS_CLOSE, fd)
		}
		net.Close()
		net.Wait()
		stacks.Delete(s.p)
		for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(end) {
				b := make([]byte, 64<<10)
				t.Errorf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), b[:runtime.Stack(b, true)])
				return
			}
		}
	})
	return s
}

// note adds to the log that is compared.
func (s *side) note(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

//go:uintptrescapes
func (s *side) call(num uintptr, a ...uintptr) (uintptr, syscall.Errno) {
	var args [6]uintptr
	copy(args[:], a)
	if s.p == nil {
		r, _, err := syscall.Syscall6(num, args[0], args[1], args[2], args[3], args[4], args[5])
		return r, err
	}
	r, _, err, ok := s.p.Call(num, args[0], args[1], args[2], args[3], args[4], args[5])
	if !ok {
		s.t.Errorf("system call %d is not answered", num)
	}
	return r, syscall.Errno(err)
}

// await waits until a descriptor may be ready for mode.
func (s *side) await(fd uintptr, mode rune) {
	s.t.Helper()
	if s.p == nil {
		const in, out = 1, 4
		poll := &struct {
			fd          int32
			events, got int16
		}{int32(fd), in, 0}
		if mode == 'w' {
			poll.events = out
		}
		if n, _ := s.call(syscall.SYS_POLL, uintptr(unsafe.Pointer(poll)), 1, uintptr(patience.Milliseconds())); n != 1 {
			s.t.Errorf("Linux: %c of %d does not come", mode, fd)
			runtime.Goexit()
		}
		return
	}
	select {
	case <-s.happened(fd, mode):
	case <-time.After(patience):
		s.t.Errorf("%c of %d does not come\n%v", mode, fd, s.log)
		runtime.Goexit()
	}
}

// polled has the descriptor watched; without it await does not work.
func (s *side) polled(fd uintptr) uintptr {
	if s.p != nil {
		s.polledAs(fd, fd)
	}
	return fd
}

// polledAs has it watched under a name.
func (s *side) polledAs(fd, pd uintptr) {
	s.mu.Lock()
	for _, mode := range "rw" {
		s.events[event{pd, mode}] = make(chan struct{}, 1)
	}
	s.mu.Unlock()
	if err := s.p.PollOpen(int(fd), pd); err != 0 {
		s.t.Errorf("PollOpen: %v", err)
	}
}

// retry calls try until it does not give EAGAIN.
func (s *side) retry(fd uintptr, mode rune, try func() (uintptr, syscall.Errno)) (uintptr, syscall.Errno) {
	s.t.Helper()
	for {
		n, err := try()
		if err != syscall.EAGAIN {
			return n, err
		}
		s.await(fd, mode)
	}
}

// socket makes one that does not wait, and is polled.
func (s *side) socket(domain, kind, protocol int) uintptr {
	s.t.Helper()
	fd, err := s.call(syscall.SYS_SOCKET, uintptr(domain), uintptr(kind|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC), uintptr(protocol))
	if err != 0 {
		s.t.Fatalf("socket %d, %d, %d: %v", domain, kind, protocol, err)
	}
	return s.polled(fd)
}

func (s *side) close(fd uintptr) { s.call(syscall.SYS_CLOSE, fd) }

// accept waits for a connection and has it polled.
func (s *side) accept(fd uintptr) (uintptr, netip.AddrPort, syscall.Errno) {
	s.t.Helper()
	b, n := make([]byte, 128), new(uint32)
	got, err := s.retry(fd, 'r', func() (uintptr, syscall.Errno) {
		*n = 128
		return s.call(syscall.SYS_ACCEPT4, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(n)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	})
	if err != 0 {
		return 0, netip.AddrPort{}, err
	}
	return s.polled(got), parse(b, *n), 0
}

// connected returns what became of a connection that was asked for.
func (s *side) connected(fd uintptr, to netip.AddrPort) syscall.Errno {
	s.t.Helper()
	if err := s.connect(fd, to); err != syscall.EINPROGRESS {
		return err
	}
	for {
		s.await(fd, 'w')
		if n, err := s.option(fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != 0 || n != 0 {
			return max(err, syscall.Errno(n))
		}
		if _, err := s.name(syscall.SYS_GETPEERNAME, fd); err == 0 {
			return 0
		}
	}
}

// streams returns both ends of a connection, and the listener.
func (s *side) streams(domain int, at string) (client, server, listener uintptr) {
	s.t.Helper()
	listener = s.socket(domain, syscall.SOCK_STREAM, 0)
	if err := max(s.bind(listener, netip.MustParseAddrPort(at)), s.listen(listener, 8)); err != 0 {
		s.t.Fatalf("listen: %v", err)
	}
	client = s.socket(domain, syscall.SOCK_STREAM, 0)
	if err := s.connected(client, s.local(listener)); err != 0 {
		s.t.Fatalf("connect: %v", err)
	}
	server, _, err := s.accept(listener)
	if err != 0 {
		s.t.Fatalf("accept: %v", err)
	}
	return client, server, listener
}
