package qemutest

// The raw wire: Ethernet frames between the machine's card and the test, one a
// datagram over unix sockets (QEMU's -netdev dgram). A frame is bare: no FCS,
// no padding, no offload header.

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// FrameMax is the longest frame that QEMU carries, in bytes.
const FrameMax = 68<<10 + 1024

// Wire is the other end of the machine's network cable. Its methods may be
// called concurrently.
type Wire struct {
	here, there string // socket paths
	in          *net.UnixConn
	out         *net.UnixConn
	record      *pcapWriter
	done        chan struct{} // closed when the reader has ended
	// card is QEMU's end of a wire that is shaped, until QEMU has it, and rate how many
	// bits of frames of the machine's it carries a second; 0: as many as come.
	card    *os.File
	rate    int
	carried atomic.Int64

	mu   sync.Mutex
	taps []*tap
}

// tap is one receiver of frames.
type tap struct{ f func(frame []byte) }

// newWire makes our socket, so that QEMU finds it when it starts. rate is Config.Rate.
func newWire(dir string, rate int) (*Wire, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	w := &Wire{here: filepath.Join(dir, "test"), there: filepath.Join(dir, "card"), done: make(chan struct{})}
	var err error
	if w.record, err = newPCAP(filepath.Join(dir, "pcap")); err != nil {
		return nil, err
	}
	if w.in, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.here, Net: "unixgram"}); err != nil {
		return nil, err
	}
	if rate > 0 {
		if err = w.shape(rate); err != nil {
			return nil, err
		}
	}
	go w.read()
	return w, nil
}

// wireSlack is how far the end of a wire that is shaped may be behind its time, and make up for
// it: timers are late.
const wireSlack = 5 * time.Millisecond

// wireBuffer is what the system keeps of a wire that is shaped, in bytes with its own headers: two
// of the longest frames of the usual MTU.
const wireBuffer = 4608

// shape has the wire carry so many bits a second of what the machine sends, and lets the rest
// wait: QEMU is given a socket that is connected with ours, so that it sees when there is room.
func (w *Wire) shape(rate int) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	w.rate, w.card = rate, os.NewFile(uintptr(fd), "card")
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, wireBuffer/2); err != nil { // which the system doubles
		return err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: w.there}); err != nil {
		return fmt.Errorf("%s: %w", w.there, err)
	}
	return syscall.Connect(fd, &syscall.SockaddrUnix{Name: w.here})
}

// netdev is the value of -netdev.
func (w *Wire) netdev() string {
	if w.card != nil {
		return fmt.Sprintf("dgram,local.type=fd,local.str=%d", cardFile)
	}
	return fmt.Sprintf("dgram,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", w.there, w.here)
}

// connect opens the way to QEMU, whose socket must be there. Sending goes over
// a socket of its own: only a connected one waits for room at the receiver.
func (w *Wire) connect() (err error) {
	if w.card != nil {
		return nil // its socket takes frames from ours alone, which is bound
	}
	w.out, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: w.there, Net: "unixgram"})
	return err
}

func (w *Wire) read() {
	defer close(w.done)
	buf := make([]byte, FrameMax)
	var free time.Time // when the wire has carried what it was given
	for {
		n, err := w.in.Read(buf)
		if err != nil {
			return
		}
		if w.rate > 0 {
			if late := time.Now().Add(-wireSlack); free.Before(late) {
				free = late
			}
			free = free.Add(time.Duration(n) * 8 * time.Second / time.Duration(w.rate))
			time.Sleep(time.Until(free))
		}
		w.carried.Add(int64(n))
		frame := buf[:n]
		w.record.frame(frame)
		w.mu.Lock()
		taps := w.taps
		w.mu.Unlock()
		for _, t := range taps {
			t.f(frame)
		}
	}
}

// Send gives one frame to the machine's card, as it is. It waits for as long as
// the card takes nothing; it fails when QEMU has ended or the frame is empty or
// longer than FrameMax.
func (w *Wire) Send(frame []byte) error {
	if len(frame) == 0 || len(frame) > FrameMax {
		return fmt.Errorf("frame of %d bytes: want 1 to %d", len(frame), FrameMax)
	}
	w.record.frame(frame)
	if w.card != nil {
		_, err := w.in.WriteToUnix(frame, &net.UnixAddr{Name: w.there, Net: "unixgram"})
		return err
	}
	_, err := w.out.Write(frame)
	return err
}

// Loop has the taps see a frame as if the machine had sent it: the control of a test that
// wants to see none of its kind.
func (w *Wire) Loop(frame []byte) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: w.here, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(frame)
	return err
}

// Tap calls f with every frame that the machine sends from now on, until
// remove is called. f must not keep the frame, nor wait.
func (w *Wire) Tap(f func(frame []byte)) (remove func()) {
	t := &tap{f}
	w.mu.Lock()
	defer w.mu.Unlock()
	// The reader walks the old slice without the lock.
	w.taps = append(slices.Clone(w.taps), t)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taps = slices.DeleteFunc(slices.Clone(w.taps), func(o *tap) bool { return o == t })
	}
}

// Carried is how many bytes of frames of the machine's the wire has carried.
func (w *Wire) Carried() int64 { return w.carried.Load() }

// Capture collects copies of the frames for which match says yes, until the
// test ends.
func (v *VM) Capture(t testing.TB, match func(frame []byte) bool) *Capture {
	t.Helper()
	c := &Capture{vm: v, frames: newQueue[[]byte]()}
	t.Cleanup(v.Wire(t).Tap(func(frame []byte) {
		if match(frame) {
			c.frames.push(slices.Clone(frame))
		}
	}))
	return c
}

// Capture is a queue of frames that the machine sent.
type Capture struct {
	vm     *VM
	frames *queue[[]byte]
}

// Next waits for the next frame; without one before the machine's deadline the
// test fails.
func (c *Capture) Next(t testing.TB) []byte {
	t.Helper()
	frame, ok := c.frames.next(c.vm.ctx)
	if !ok {
		t.Fatalf("qemutest: the machine sent no such frame before %s", c.vm.why())
	}
	return frame
}

// Len returns how many frames are waiting.
func (c *Capture) Len() int { return c.frames.len() }

// Wire returns the other end of the cable of a machine with Net: RawWire.
func (v *VM) Wire(t testing.TB) *Wire {
	t.Helper()
	if v.wire == nil {
		t.Fatal("qemutest: this machine has no raw wire: start it with Net: qemutest.RawWire")
	}
	return v.wire
}

// WireOf returns the other end of the cable of a machine's card: 0 is that of Net, the
// others those of Config.More.
func (v *VM) WireOf(t testing.TB, card int) *Wire {
	t.Helper()
	if card == 0 {
		return v.Wire(t)
	}
	return v.more[card-1]
}

// wires lists those that there are.
func (v *VM) wires() (list []*Wire) {
	if v.wire != nil {
		list = append(list, v.wire)
	}
	return append(list, v.more...)
}

func (w *Wire) close() {
	if w.card != nil {
		w.card.Close()
	}
	if w.in != nil {
		w.in.Close()
		<-w.done
	}
	if w.out != nil {
		w.out.Close()
	}
	w.record.close()
}

// saveCapture copies what was on the wire, after close.
func (w *Wire) saveCapture(path string) error { return copyFile(path, w.record.path) }
