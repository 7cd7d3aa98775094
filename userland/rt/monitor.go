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

// monitorEnd is an open /dev/monitor. What is written to it says what it watches: the
// network interface ("eth0") or the number of a channel, then "rx", "tx" or "both", then
// how many bytes of each packet; the last two may be left out. From then on each read
// gives one record (abi.Record) with the packet behind it. It implements posix.Socket.
type monitorEnd struct{ pipeEnd }

func openMonitor() (posix.Socket, syscall.Errno) { return &monitorEnd{}, 0 }

// Send implements posix.Socket.
func (e *monitorEnd) Send(b []byte, flags int, to netip.AddrPort) (int, syscall.Errno) {
	e.mu.Lock()
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
	if !watch(r, strings.Fields(string(b))) {
		return 0, syscall.EINVAL
	}
	copy(r.Schema[:], "small")
	switch n := kernel(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0); {
	case n == int64(abi.NotAllowed):
		return 0, syscall.EACCES
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

// watch reads what is to be watched.
func watch(r *abi.OpenRequest, words []string) bool {
	if len(words) < 1 || len(words) > 3 {
		return false
	}
	r.Watch, r.Direction = abi.RecordNetif, abi.RecordRx|abi.RecordTx
	if words[0] != "eth0" {
		n, err := strconv.ParseUint(words[0], 10, 32)
		if err != nil {
			return false
		}
		r.Watch, r.Target = abi.RecordChannel, uint32(n)
	}
	if len(words) > 1 {
		switch words[1] {
		case "rx":
			r.Direction = abi.RecordRx
		case "tx":
			r.Direction = abi.RecordTx
		case "both":
		default:
			return false
		}
	}
	if len(words) > 2 {
		n, err := strconv.ParseUint(words[2], 10, 16)
		if err != nil {
			return false
		}
		r.Snap = uint32(n)
	}
	return true
}

// Receive implements posix.Socket.
func (e *monitorEnd) Receive(b []byte, flags int) (int, netip.AddrPort, int, syscall.Errno) {
	e.mu.Lock()
	watching := e.channel != nil
	e.mu.Unlock()
	if !watching {
		return 0, netip.AddrPort{}, 0, syscall.ENOTCONN
	}
	return e.pipeEnd.Receive(b, flags)
}

// Close implements posix.Socket.
func (e *monitorEnd) Close() {
	e.mu.Lock()
	watching := e.channel != nil
	e.closed = e.closed || !watching
	e.mu.Unlock()
	if watching {
		e.pipeEnd.Close()
	}
}
