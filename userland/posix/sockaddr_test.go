package posix_test

import (
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/userland/posix"
)

// named is a socket that has the name it was given.
type named struct {
	posix.Socket
	mu sync.Mutex
	at netip.AddrPort
}

func (n *named) Bind(a netip.AddrPort) syscall.Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = a
	return 0
}

func (n *named) Local() (netip.AddrPort, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at, 0
}

func (n *named) Notify(func(int)) {}
func (n *named) Close()           {}

func init() {
	posix.RegisterSockets(func(*posix.Process, int, int, int) (posix.Socket, syscall.Errno) { return &named{}, 0 })
}

// FuzzSockaddr binds to any bytes of any length: what is taken comes back as it was,
// with the rest of the structure zero, and no byte beyond the room is written.
func FuzzSockaddr(f *testing.F) {
	f.Add([]byte{2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, false, uint8(16))
	f.Add(append([]byte{10, 0, 0, 80, 0, 0, 0, 0, 0xfe, 0x80}, make([]byte, 18)...), true, uint8(28))
	scoped := append([]byte{10, 0, 0, 80, 0, 0, 0, 0, 0xfe, 0x80}, make([]byte, 18)...)
	scoped[24] = 2
	f.Add(scoped, true, uint8(28))
	f.Add([]byte{2}, false, uint8(1))
	c := newProcess(f, nil)
	f.Fuzz(func(t *testing.T, b []byte, six bool, room uint8) {
		c := caller{t, c.p}
		family, size := syscall.AF_INET, 16
		if six {
			family, size = syscall.AF_INET6, 28
		}
		fd := c.must(syscall.SYS_SOCKET, uintptr(family), syscall.SOCK_DGRAM, 0)
		defer c.must(syscall.SYS_CLOSE, fd)
		b = append(b, 0)
		n := len(b) - 1
		_, err := c.call(syscall.SYS_BIND, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(n))
		least := size
		if six {
			least -= 4
		}
		switch {
		case n < least || n > 128:
			if err != syscall.EINVAL {
				t.Fatalf("%d bytes: %v", n, err)
			}
			return
		case int(b[0])|int(b[1])<<8 != family:
			if err != syscall.EAFNOSUPPORT {
				t.Fatalf("family %d: %v", b[0], err)
			}
			return
		case err != 0:
			t.Fatal(err)
		}
		out, length := make([]byte, 300), new(uint32)
		for i := range out {
			out[i] = 0xee
		}
		*length = uint32(room)
		c.must(syscall.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&out[0])), uintptr(unsafe.Pointer(length)))
		if int(*length) != size {
			t.Fatalf("length %d", *length)
		}
		wrote := min(int(room), size)
		for i := wrote; i < len(out); i++ {
			if out[i] != 0xee {
				t.Fatalf("byte %d was written, of %d", i, wrote)
			}
		}
		want := make([]byte, size)
		copy(want, b[:4])
		if six {
			copy(want[8:24], b[8:24])
			if ip := netip.AddrFrom16([16]byte(b[8:24])); n >= 28 && (ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast()) && !ip.Is4In6() {
				copy(want[24:], b[24:28])
			}
		} else {
			copy(want[4:8], b[4:8])
		}
		if string(out[:wrote]) != string(want[:wrote]) {
			t.Fatalf("%v came back as %v", want[:wrote], out[:wrote])
		}
	})
}
