package socket_test

import (
	"bytes"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Far more than the buffers hold, both ways at once, with no other wakening than
// PollReady.
func TestStreamIsWokenBothWays(t *testing.T) {
	s := newSide(t, nil)
	client, server, listener := s.streams(syscall.AF_INET, "127.0.0.1:0")
	for _, fd := range []uintptr{client, server} {
		s.set(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8000)
		s.set(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 8000)
	}
	const size = 1 << 20
	block := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	// Each direction has descriptors of its own, as each has one waiter here.
	writers, readers := [2]uintptr{}, [2]uintptr{client, server}
	for i, fd := range []uintptr{server, client} {
		copied, err := s.call(syscall.SYS_DUP, fd)
		if err != 0 {
			t.Fatal(err)
		}
		writers[i] = s.polled(copied)
	}
	done := make(chan bool, 4)
	for i := range 2 {
		go func() {
			defer func() { done <- true }()
			for sent := 0; sent < size; {
				n, err := s.retry(writers[i], 'w', func() (uintptr, syscall.Errno) {
					return s.call(syscall.SYS_WRITE, writers[i], uintptr(unsafe.Pointer(&block[sent])), uintptr(size-sent))
				})
				if err != 0 {
					t.Errorf("write: %v", err)
					return
				}
				sent += int(n)
			}
			s.call(syscall.SYS_SHUTDOWN, writers[i], syscall.SHUT_WR)
		}()
		go func() {
			defer func() { done <- true }()
			var got strings.Builder
			for {
				text, err := s.read(readers[i], 10000)
				if err != 0 {
					t.Errorf("read: %v", err)
					return
				}
				if text == "" {
					break
				}
				got.WriteString(text)
			}
			if got.String() != string(block) {
				t.Errorf("%d bytes came, of %d", got.Len(), size)
			}
		}()
	}
	for range 4 {
		<-done
	}
	for _, fd := range []uintptr{client, server, listener, writers[0], writers[1]} {
		s.close(fd)
	}
}

// A socket is told of what happens to it: each event wakes a reader that found
// nothing before.
func TestEventsWake(t *testing.T) {
	for what, event := range map[string]func(s *side, peer uintptr){
		"bytes":    func(s *side, peer uintptr) { s.write(peer, "x") },
		"the end":  func(s *side, peer uintptr) { s.close(peer) },
		"shutdown": func(s *side, peer uintptr) { s.call(syscall.SYS_SHUTDOWN, peer, syscall.SHUT_WR) },
		"reset": func(s *side, peer uintptr) {
			s.set(peer, syscall.SOL_SOCKET, syscall.SO_LINGER, 1, 0)
			s.close(peer)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSide(t, nil)
			client, server, _ := s.streams(syscall.AF_INET, "127.0.0.1:0")
			if _, err := s.receive(client, 1, syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
				t.Fatalf("before: %v", err)
			}
			event(s, server)
			want := syscall.Errno(0)
			if what == "reset" {
				want = syscall.ECONNRESET
			}
			if _, err := s.read(client, 1); err != want {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
}

// After PollClose nobody is told, and regular files cannot be polled.
func TestPollClose(t *testing.T) {
	s := newSide(t, nil)
	a := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.MustParseAddrPort("127.0.0.1:0"))
	b := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.calm(a)
	s.sendto(b, "x", 0, s.local(a))
	s.await(a, 'r')
	if err := s.p.PollClose(int(a)); err != 0 {
		t.Fatal(err)
	}
	s.receive(a, 1, syscall.MSG_DONTWAIT)
	s.calm(a)
	s.sendto(b, "y", 0, s.local(a))
	// The datagram is there: its event came before it could be read, if at all.
	s.polledAs(a, 1000)
	for {
		if _, err := s.receive(a, 1, syscall.MSG_DONTWAIT); err == 0 {
			break
		}
		s.await(1000, 'r')
	}
	if err := s.p.PollOpen(1, 1); err != syscall.EPERM {
		t.Errorf("PollOpen of the console: %v", err)
	}
	if err := s.p.PollOpen(50, 1); err != syscall.EBADF {
		t.Errorf("PollOpen of nothing: %v", err)
	}
	if len(s.happened(a, 'r')) > 0 {
		t.Error("told after PollClose")
	}
}

// A writer that waits for room is told when the connection ends.
func TestEndWakesWriter(t *testing.T) {
	s := newSide(t, nil)
	client, server, _ := s.streams(syscall.AF_INET, "127.0.0.1:0")
	big := strings.Repeat("x", 1<<20)
	b := []byte(big)
	for {
		if _, err := s.call(syscall.SYS_WRITE, client, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b))); err == syscall.EAGAIN {
			break
		} else if err != 0 {
			t.Fatal(err)
		}
	}
	s.calm(client)
	s.set(server, syscall.SOL_SOCKET, syscall.SO_LINGER, 1, 0)
	s.close(server)
	if _, err := s.write(client, big); err != syscall.ECONNRESET {
		t.Errorf("write: %v", err)
	}
}

// waiting waits until so many goroutines wait in a function of package posix.
func waiting(t *testing.T, n int, function string) {
	t.Helper()
	b := make([]byte, 1<<20)
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		if strings.Count(string(b[:runtime.Stack(b, true)]), "posix."+function+"(") >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody waits in %s", function)
		}
	}
}

// A socket that may wait does, and returns when its last descriptor is closed.
func TestBlockingCalls(t *testing.T) {
	s := newSide(t, nil)
	l, err := s.call(syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != 0 || s.bind(l, netip.MustParseAddrPort("127.0.0.1:0")) != 0 || s.listen(l, 1) != 0 {
		t.Fatal(err)
	}
	c, _ := s.call(syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err := s.connect(c, s.local(l)); err != 0 {
		t.Fatalf("connect: %v", err)
	}
	fd, err := s.call(syscall.SYS_ACCEPT, l, 0, 0)
	if err != 0 {
		t.Fatalf("accept: %v", err)
	}
	got := make(chan string)
	go func() {
		text, err := s.read(fd, 10)
		got <- text + err.Error()
	}()
	if n, err := s.write(c, "text"); n != 4 || err != 0 {
		t.Errorf("write: %d, %v", n, err)
	}
	if text := <-got; text != "texterrno 0" {
		t.Errorf("read: %q", text)
	}
	whole := strings.Repeat("long", 1<<20)
	go func() {
		n, err := s.write(c, whole)
		if int(n) != len(whole) || err != 0 {
			t.Errorf("write: %d, %v", n, err)
		}
		got <- ""
	}()
	for total := 0; total < len(whole); {
		text, err := s.read(fd, 100000)
		if total += len(text); err != 0 || text == "" {
			t.Fatalf("read: %d, %v", total, err)
		}
	}
	<-got
	calls := []func() syscall.Errno{
		func() syscall.Errno { _, err := s.read(fd, 1); return err },
		func() syscall.Errno { _, err := s.call(syscall.SYS_ACCEPT, l, 0, 0); return err },
	}
	ended := make(chan syscall.Errno)
	for _, call := range calls {
		go func() { ended <- call() }()
	}
	waiting(t, len(calls), "(*watchers).until")
	s.close(fd)
	s.close(l)
	for range calls {
		if err := <-ended; err != syscall.EBADF {
			t.Errorf("a call whose descriptor was closed: %v", err)
		}
	}
	none, _ := s.call(syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err := s.connect(none, netip.MustParseAddrPort("127.0.0.1:1")); err != syscall.ECONNREFUSED {
		t.Errorf("connect to nobody: %v", err)
	}
}

// A datagram that the link has no room for is EAGAIN, and the sender is told when
// there is room.
func TestSenderIsToldOfRoom(t *testing.T) {
	s := newSide(t, nil)
	var full atomic.Int32
	full.Store(1)
	s.stack.Full = func() bool { return full.Load() != 0 }
	a, b := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0), s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.AddrPortFrom(outside, 0))
	if _, err := s.sendto(b, "x", 0, s.local(a)); err != syscall.EAGAIN {
		t.Fatalf("send: %v", err)
	}
	if n, err := s.sendto(b, "x", 0, netip.MustParseAddrPort("127.0.0.1:9")); n != 1 || err != 0 {
		t.Errorf("send to loopback: %d, %v", n, err)
	}
	s.calm(b)
	if len(s.happened(b, 'w')) > 0 {
		t.Error("told while there is no room")
	}
	full.Store(0)
	s.stack.Room()
	s.await(b, 'w')
	if _, err := s.retry(b, 'w', func() (uintptr, syscall.Errno) { return s.sendto(b, "y", 0, s.local(a)) }); err != 0 {
		t.Errorf("send: %v", err)
	}
	full.Store(1)
	s.sendto(b, "z", 0, s.local(a)) // waits when it is closed
	if text, _, _, err := s.recvfrom(a, 10, 0); text != "y" || err != 0 {
		t.Errorf("%q, %v", text, err)
	}
}
