package posix_test

import (
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/userland/posix"
)

// This file owns what descriptors have to do with channels; names in comments are those of
// skywalk 7.2, where a channel and its controller are guarded descriptors.

// silent is a channel's end that has nothing to read, as yet.
type silent struct {
	stub
	asked  chan struct{} // nil, or told of each Receive
	closes atomic.Int32
}

func (s *silent) Receive([]byte, int) (int, netip.AddrPort, int, syscall.Errno) {
	if s.asked != nil {
		s.asked <- struct{}{}
	}
	return 0, netip.AddrPort{}, 0, syscall.EAGAIN
}
func (s *silent) Close() { s.closes.Add(1) }

// TestChannelIsNoDescriptor (closecfd, closenfd, readcfd, writecfd, readnfd, writenfd): the
// channel to the network is the domain's own, and no number that a program may close, read or
// write leads to it: all are EBADF. One that closes all that it has still has the channel.
func TestChannelIsNoDescriptor(t *testing.T) {
	made := 0
	c := newProcess(t, func(p *posix.Process) {
		if err := p.FS.AddDevice("/proc/sluice/channel", posix.DevChannel, 0o666); err != 0 {
			t.Fatal(err)
		}
		p.Channel = func() []byte { made++; return []byte("rx") }
		p.ResizeChannel = func(string) syscall.Errno { return 0 }
	})
	file := c.open("/proc/sluice/channel", syscall.O_RDWR)
	one := str("x")
	bad := func() {
		t.Helper()
		for fd := file + 1; fd < 1100; fd++ {
			c.fails(syscall.EBADF, syscall.SYS_READ, fd, one, 1)
			c.fails(syscall.EBADF, syscall.SYS_WRITE, fd, one, 1)
			c.fails(syscall.EBADF, syscall.SYS_CLOSE, fd)
		}
	}
	bad()
	for fd := uintptr(0); fd <= file; fd++ {
		c.must(syscall.SYS_CLOSE, fd)
		c.fails(syscall.EBADF, syscall.SYS_CLOSE, fd)
		c.fails(syscall.EBADF, syscall.SYS_READ, fd, one, 1)
		c.fails(syscall.EBADF, syscall.SYS_WRITE, fd, one, 1)
	}
	bad()
	if again := c.open("/proc/sluice/channel", syscall.O_RDWR); again != 0 {
		t.Errorf("the lowest free descriptor is %d", again)
	}
	if got, err := c.read(0, 9); got != "rx" || err != 0 || made != 1 {
		t.Errorf("read %q, %v", got, err)
	}
}

// TestChannelFileCloses (closecfd of what is a descriptor: a pipe between domains, a monitor,
// a card's frames): the last close ends the channel, once, and from then on reads and writes
// are EBADF; a copy keeps it.
func TestChannelFileCloses(t *testing.T) {
	end := &silent{}
	c := newProcess(t, func(p *posix.Process) {
		p.Pipes = []string{"log"}
		p.OpenPipe = func(string) (posix.Socket, syscall.Errno) { return end, 0 }
	})
	fd := c.open("/dev/pipe/log", syscall.O_RDWR|syscall.O_NONBLOCK)
	copied := c.must(syscall.SYS_DUP, fd)
	c.must(syscall.SYS_CLOSE, fd)
	c.fails(syscall.EBADF, syscall.SYS_READ, fd, str("x"), 1)
	c.fails(syscall.EBADF, syscall.SYS_WRITE, fd, str("x"), 1)
	if n := end.closes.Load(); n != 0 {
		t.Errorf("closed %d times while a copy is open", n)
	}
	c.write(copied, "out")
	c.fails(syscall.EAGAIN, syscall.SYS_READ, copied, str("x"), 1)
	c.must(syscall.SYS_CLOSE, copied)
	c.fails(syscall.EBADF, syscall.SYS_CLOSE, copied)
	c.fails(syscall.EBADF, syscall.SYS_WRITE, copied, str("x"), 1)
	if n := end.closes.Load(); n != 1 || end.sent != "out" || end.notify != nil {
		t.Errorf("closed %d times, %q was written, or it still tells", n, end.sent)
	}
}

// TestCloseWhileItIsWaitedFor (closekqk): who waits for a channel's file and who is told of it
// are let go when it is closed, in either order of the end of the waiting and the close, and
// nobody is told afterwards.
func TestCloseWhileItIsWaitedFor(t *testing.T) {
	for _, order := range []string{"the wait first", "the channel first", "in a call"} {
		end := &silent{}
		var told modes
		c := newProcess(t, func(p *posix.Process) {
			p.Pipes = []string{"log"}
			p.OpenPipe = func(string) (posix.Socket, syscall.Errno) { return end, 0 }
			p.PollReady = told.ready
		})
		fd := c.open("/dev/pipe/log", syscall.O_RDWR)
		notify := end.notify
		if err := c.p.PollOpen(int(fd), 7); err != 0 {
			t.Fatal(err)
		}
		notify('r')
		if told.r.Load() == 0 {
			t.Errorf("%s: not told", order)
		}
		switch order {
		case "the wait first":
			if err := c.p.PollClose(int(fd)); err != 0 {
				t.Error(err)
			}
			c.must(syscall.SYS_CLOSE, fd)
		case "the channel first":
			c.must(syscall.SYS_CLOSE, fd)
			if err := c.p.PollClose(int(fd)); err != syscall.EBADF {
				t.Errorf("PollClose of a closed one: %v", err)
			}
		case "in a call":
			end.asked = make(chan struct{}, 10)
			ended := make(chan syscall.Errno, 1)
			go func() {
				b := make([]byte, 1)
				_, err := c.call(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), 1)
				ended <- err
			}()
			<-end.asked
			c.must(syscall.SYS_CLOSE, fd)
			select {
			case err := <-ended:
				if err != syscall.EBADF {
					t.Errorf("the read: %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the read waits for a channel that is closed")
			}
		}
		told.r.Store(0)
		notify('r')
		if n := end.closes.Load(); n != 1 || told.r.Load() != 0 || end.notify != nil {
			t.Errorf("%s: closed %d times, told %d times", order, n, told.r.Load())
		}
	}
}
