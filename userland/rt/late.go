package rt

import (
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/posix"
)

// lateEnd is a channel that is opened by the first write to its file, whose words say what
// it is to be. It implements posix.Socket.
type lateEnd struct {
	pipeEnd
	prepare func(r *abi.OpenRequest, words []string) bool
	sends   bool // more may be written
}

// Send implements posix.Socket.
func (e *lateEnd) Send(b []byte, flags int, to netip.AddrPort) (int, syscall.Errno) {
	e.mu.Lock()
	if e.channel != nil && e.sends {
		e.mu.Unlock()
		return e.pipeEnd.Send(b, flags, to)
	}
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return 0, syscall.EBADF
	case flags != 0 || to.IsValid():
		return 0, syscall.EOPNOTSUPP
	case e.channel != nil:
		return 0, syscall.EBUSY
	}
	r := &abi.OpenRequest{}
	if !e.prepare(r, strings.Fields(string(b))) {
		return 0, syscall.EINVAL
	}
	copy(r.Schema[:], "small")
	switch n := kernel(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0); {
	case n == int64(abi.NotAllowed):
		return 0, syscall.EACCES
	case n == int64(abi.NotNow):
		return 0, syscall.EBUSY
	case n == int64(abi.OverQuota):
		return 0, syscall.ENOMEM
	case n < 0:
		return 0, syscall.ENXIO // there is no such target, or no channel left
	}
	if err := e.attach(r); err != 0 {
		return 0, err
	}
	return len(b), 0
}

// Receive implements posix.Socket.
func (e *lateEnd) Receive(b []byte, flags int) (int, netip.AddrPort, int, syscall.Errno) {
	e.mu.Lock()
	open := e.channel != nil
	e.mu.Unlock()
	if !open {
		return 0, netip.AddrPort{}, 0, syscall.ENOTCONN
	}
	return e.pipeEnd.Receive(b, flags)
}

// Close implements posix.Socket.
func (e *lateEnd) Close() {
	e.mu.Lock()
	open := e.channel != nil
	e.closed = e.closed || !open
	e.mu.Unlock()
	if open {
		e.pipeEnd.Close()
	}
}

// openLink opens /dev/link. What is written to it first is an EtherType, "88cc". From then
// on each read gives one frame of the network interface with its link header, and each write
// sends one, whose source may be left 0.
func openLink() (posix.Socket, syscall.Errno) { return &lateEnd{prepare: link, sends: true}, 0 }

// link reads the EtherType.
func link(r *abi.OpenRequest, words []string) bool {
	if len(words) != 1 || len(words[0]) != 4 {
		return false
	}
	n, err := strconv.ParseUint(words[0], 16, 16)
	r.EtherType = uint32(n)
	return err == nil && n != 0
}
