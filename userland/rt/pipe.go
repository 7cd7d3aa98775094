package rt

import (
	"bytes"
	"net/netip"
	"runtime/goos"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
	"github.com/sluice-os/sluice/userland/posix"
)

// pipeEnd is an open pipe to another domain: what one write sends one read
// receives. It implements posix.Socket.
type pipeEnd struct {
	number  uint64
	channel *channel.Channel
	// over says that the other domain has closed its end, and lost that the kernel has
	// taken the memory of this one, with what was in it.
	over, lost atomic.Bool

	mu     sync.Mutex // of the channel, and what follows
	closed bool
	notify func(mode int)
}

// watched has the end that is told of each channel's event. A goroutine waits for the
// event from the first one on.
var watched [abi.ChannelsMax]struct {
	once sync.Once
	end  atomic.Pointer[pipeEnd]
}

// channelEvent is the number of abi.EventChannel.
const channelEvent = 8

// pipes asks the kernel for the names of the domain's pipes.
func pipes() (names []string) {
	text := make([]byte, abi.ControlMax)
	n := kernel(abi.SysControl, abi.ControlPipes, address(text), uintptr(len(text)), 0)
	for _, name := range bytes.Split(text[:max(0, min(n, int64(len(text))))], []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names
}

// openPipe opens the domain's end.
func openPipe(name string) (posix.Socket, syscall.Errno) {
	r := &abi.OpenRequest{}
	copy(r.Schema[:], "small")
	copy(r.Pipe[:], name)
	switch n := kernel(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0); {
	case n == int64(abi.NotNow):
		return nil, syscall.EBUSY // open here, or the other end is still that of before
	case n == int64(abi.OverQuota):
		return nil, syscall.ENOMEM
	case n < 0:
		return nil, syscall.ENXIO
	}
	e := &pipeEnd{}
	if err := e.attach(r); err != 0 {
		return nil, err
	}
	return e, 0
}

// attach takes the channel that a request has opened.
func (e *pipeEnd) attach(r *abi.OpenRequest) syscall.Errno {
	c, err := channel.New(unsafe.Pointer(uintptr(r.Base)), e.sync)
	if err != nil {
		return syscall.EIO
	}
	e.number, e.channel = r.Channel, c
	w := &watched[e.number]
	w.end.Store(e)
	w.once.Do(func() {
		go func() {
			for {
				goos.Wait(uint(channelEvent + r.Channel))
				if e := w.end.Load(); e != nil {
					e.look()
				}
			}
		}()
	})
	return 0
}

// sync has the kernel look at the rings.
func (e *pipeEnd) sync() {
	switch n := kernel(abi.SysNotify, uintptr(e.number), 0, 0, 0); {
	case n == int64(abi.Defunct):
		e.lost.Store(true)
		e.over.Store(true)
	case n < 0:
		e.over.Store(true)
	}
}

// look gives back the memory that the kernel asks for, and tells who waits.
func (e *pipeEnd) look() {
	e.mu.Lock()
	if !e.closed {
		e.channel.Trim()
	}
	f := e.notify
	e.mu.Unlock()
	if f != nil {
		f('r' + 'w')
	}
}

// Send implements posix.Socket.
func (e *pipeEnd) Send(b []byte, flags int, to netip.AddrPort) (int, syscall.Errno) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return 0, syscall.EBADF
	case flags != 0 || to.IsValid():
		return 0, syscall.EOPNOTSUPP
	case len(b) == 0:
		return 0, 0
	case len(b) > e.channel.Longest():
		return 0, syscall.EMSGSIZE
	case e.over.Load():
		return 0, syscall.EPIPE
	}
	rest := b
	if !e.channel.Send(&channel.Outgoing{Length: len(b)}, func(piece []byte) { rest = rest[copy(piece, rest):] }) {
		if e.over.Load() {
			return 0, syscall.EPIPE
		}
		return 0, syscall.EAGAIN
	}
	e.channel.Flush()
	return len(b), 0
}

// Receive implements posix.Socket. 0 bytes are the end, ECONNRESET says that what there
// was is lost.
func (e *pipeEnd) Receive(b []byte, flags int) (n int, _ netip.AddrPort, whole int, err syscall.Errno) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var none netip.AddrPort
	if e.closed {
		return 0, none, 0, syscall.EBADF
	}
	if flags != 0 {
		return 0, none, 0, syscall.EOPNOTSUPP
	}
	for range 2 {
		if e.channel.Receive(1, func(in *channel.Received) {
			for _, piece := range in.Pieces {
				n += copy(b[n:], piece)
			}
			whole = in.Length
		}) > 0 && e.channel.Active() {
			return n, none, whole, 0
		}
		n, whole = 0, 0
		// Who has read looks again before it waits: there is room now for what
		// the other side has left to send.
		_ = e.channel.Sync() // see sync
	}
	switch {
	case e.lost.Load():
		return 0, none, 0, syscall.ECONNRESET
	case e.over.Load() && !e.channel.Pending():
		return 0, none, 0, 0
	}
	return 0, none, 0, syscall.EAGAIN
}

// Notify implements posix.Socket.
func (e *pipeEnd) Notify(f func(mode int)) {
	e.mu.Lock()
	e.notify = f
	e.mu.Unlock()
}

// Close implements posix.Socket.
func (e *pipeEnd) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	watched[e.number].end.CompareAndSwap(e, nil)
	r := &abi.OpenRequest{Channel: e.number}
	kernel(abi.SysControl, abi.ControlClose, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0)
}

// Pending implements posix.Socket.
func (e *pipeEnd) Pending() (int, syscall.Errno) { return 0, syscall.EOPNOTSUPP }

// The rest of posix.Socket: a pipe is not one of the network.
func (e *pipeEnd) Bind(netip.AddrPort) syscall.Errno    { return syscall.EOPNOTSUPP }
func (e *pipeEnd) Listen(int) syscall.Errno             { return syscall.EOPNOTSUPP }
func (e *pipeEnd) Connect(netip.AddrPort) syscall.Errno { return syscall.EOPNOTSUPP }
func (e *pipeEnd) Shutdown(int) syscall.Errno           { return syscall.EOPNOTSUPP }
func (e *pipeEnd) Accept() (posix.Socket, netip.AddrPort, syscall.Errno) {
	return nil, netip.AddrPort{}, syscall.EOPNOTSUPP
}
func (e *pipeEnd) Local() (netip.AddrPort, syscall.Errno) {
	return netip.AddrPort{}, syscall.EOPNOTSUPP
}
func (e *pipeEnd) Peer() (netip.AddrPort, syscall.Errno) {
	return netip.AddrPort{}, syscall.EOPNOTSUPP
}
func (e *pipeEnd) SetOption(int, int, []byte) syscall.Errno { return syscall.ENOPROTOOPT }
func (e *pipeEnd) Option(int, int) ([]byte, syscall.Errno)  { return nil, syscall.ENOPROTOOPT }
