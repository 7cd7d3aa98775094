package frr

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wire is a cable with a machine at the other end, as qemutest.Wire is.
type Wire interface {
	Send(frame []byte) error
	Tap(func(frame []byte)) (remove func())
}

// Plug is a router's end of a wire.
type Plug struct {
	file *os.File
	// lost says that frames are not carried any more, in either direction.
	lost atomic.Bool
}

// Plug plugs an interface of the router, a tap, into a wire. The interface has a carrier from then
// on, until the test ends or Close.
func (r *Router) Plug(t testing.TB, name string, w Wire) *Plug {
	t.Helper()
	file, err := r.openTap(name)
	if err != nil {
		t.Fatalf("frr: %s: %s: %v", r.Name, name, err)
	}
	return PlugTap(t, file, w)
}

// PlugTap plugs a tap of OpenTap into a wire, until the test ends or Close.
func PlugTap(t testing.TB, file *os.File, w Wire) *Plug {
	p := &Plug{file: file}
	remove := w.Tap(func(frame []byte) {
		if !p.lost.Load() {
			file.Write(frame) // a full queue loses frames, as cards do
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, err := file.Read(b)
			if err != nil {
				return
			}
			if !p.lost.Load() {
				w.Send(b[:n])
			}
		}
	}()
	t.Cleanup(func() {
		remove()
		file.Close()
		<-done
	})
	return p
}

// Close takes the carrier away.
func (p *Plug) Close() { p.file.Close() }

// Cut has the wire lose all that is sent, or carry it again. Neither end sees that.
func (p *Plug) Cut(on bool) { p.lost.Store(on) }

// openTap opens a tap in the router's namespace.
func (r *Router) openTap(name string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	out := make(chan result)
	go func() {
		// The thread stays in that namespace and ends with this goroutine.
		runtime.LockOSThread()
		file, err := r.attach(name)
		out <- result{file, err}
	}()
	x := <-out
	return x.file, x.err
}

func (r *Router) attach(name string) (*os.File, error) {
	ns, err := os.Open(filepath.Join("/run/netns", r.Namespace))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("setns: %w", err)
	}
	return OpenTap(name)
}

// OpenTap opens a tap in the network namespace of the calling thread, and makes it if there is none
// of that name. It has no offloads: its frames are as they are on a wire.
func OpenTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// struct ifreq: a name, and flags in a union of 24 bytes.
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	request.flags = unix.IFF_TAP | unix.IFF_NO_PI
	// The kernel reads and writes the 40 bytes of the request, which outlives the call.
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		unix.Close(fd)
		return nil, fmt.Errorf("TUNSETIFF: %w", errno)
	}
	return os.NewFile(uintptr(fd), "tap "+name), nil
}
