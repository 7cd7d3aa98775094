package qemutest

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// loopedWire returns a wire and the socket that QEMU would have.
func loopedWire(t *testing.T) (*Wire, *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w, err := newWire(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	card, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.there, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	if err := w.connect(); err != nil {
		t.Fatal(err)
	}
	return w, card
}

func TestWireCarriesFrames(t *testing.T) {
	w, card := loopedWire(t)
	defer w.close()
	buf := make([]byte, FrameMax)
	for _, size := range []int{1, 14, 42, 1514, 65549} {
		if err := w.Send(bytes.Repeat([]byte{byte(size)}, size)); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if n, err := card.Read(buf); err != nil || n != size {
			t.Errorf("%d bytes arrived as %d, %v", size, n, err)
		}
	}
	for _, size := range []int{0, FrameMax + 1} {
		if err := w.Send(make([]byte, size)); err == nil {
			t.Errorf("a frame of %d bytes was accepted", size)
		}
	}
}

func TestWireSendWaitsForRoom(t *testing.T) {
	// Far more than a socket's queue holds, and a reader that comes later.
	const frames = 500
	w, card := loopedWire(t)
	defer w.close()
	failed := make(chan error, 1)
	go func() {
		for i := range frames {
			if err := w.Send([]byte{byte(i), byte(i >> 8)}); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	buf := make([]byte, 100)
	for i := range frames {
		if _, err := card.Read(buf); err != nil {
			t.Fatal(err)
		}
		if got := int(binary.LittleEndian.Uint16(buf)); got != i {
			t.Fatalf("frame %d came as number %d", got, i)
		}
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestWireTaps(t *testing.T) {
	w, card := loopedWire(t)
	defer w.close()
	out, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: w.here, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	_ = card
	first, second := newQueue[string](), newQueue[string]()
	remove := w.Tap(func(f []byte) { first.push(string(f)) })
	w.Tap(func(f []byte) { second.push(string(f)) })
	for i, frame := range []string{"one", "two"} {
		if _, err := out.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		if got, _ := second.next(t.Context()); got != frame {
			t.Errorf("the tap saw %q, want %q", got, frame)
		}
		if i == 0 {
			remove()
		}
	}
	if n := first.len(); n != 1 {
		t.Errorf("the removed tap has %d frames, want 1", n)
	}
}

func TestCaptureFile(t *testing.T) {
	w, card := loopedWire(t)
	frame := bytes.Repeat([]byte{7}, snapLen+100)
	if err := w.Send(frame); err != nil {
		t.Fatal(err)
	}
	if _, err := card.Read(make([]byte, len(frame))); err != nil {
		t.Fatal(err)
	}
	w.close()
	path := filepath.Join(t.TempDir(), "wire.pcap")
	if err := w.saveCapture(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const fileHeader, frameHeader = 24, 16
	if len(b) != fileHeader+frameHeader+snapLen {
		t.Fatalf("the file has %d bytes, want %d", len(b), fileHeader+frameHeader+snapLen)
	}
	le := binary.LittleEndian
	if le.Uint32(b) != pcapMagic || le.Uint32(b[20:]) != pcapEthernet {
		t.Errorf("file header % x", b[:fileHeader])
	}
	if kept, whole := le.Uint32(b[32:]), le.Uint32(b[36:]); kept != snapLen || whole != uint32(len(frame)) {
		t.Errorf("frame of %d bytes with %d kept, want %d and %d", whole, kept, len(frame), snapLen)
	}
}

// TestShapedWire: a wire of 10 Mbit/s carries that, keeps QEMU's end waiting, without a loss,
// and carries what is sent to the card as fast as that takes it.
func TestShapedWire(t *testing.T) {
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w, err := newWire(dir, 10_000_000)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	conn, err := net.FileConn(w.card) // a copy, as QEMU has
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	card := conn.(*net.UnixConn)
	if err := w.connect(); err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	done := make(chan struct{})
	const frames, size = 300, 1250 // each a millisecond
	defer w.Tap(func(frame []byte) {
		if n := got.Add(1); int64(frame[0]) != (n-1)&0xff {
			t.Errorf("frame %d is %d", n-1, frame[0])
		} else if n == frames {
			close(done)
		}
	})()
	began := time.Now()
	ahead := int64(0)
	for i := range frames {
		if _, err := card.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			t.Fatal(err)
		}
		ahead = max(ahead, int64(i)-got.Load())
	}
	<-done
	if took := time.Since(began); took < (frames-10)*time.Millisecond {
		t.Errorf("%d frames of a millisecond took %v", frames, took)
	}
	if ahead > 20 {
		t.Errorf("%d frames have waited in the wire", ahead)
	}
	for i := range 100 {
		if err := w.Send([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		if n, err := card.Read(buf); err != nil || n != 1 || buf[0] != byte(i) {
			t.Fatalf("frame %d: % x, %v", i, buf[:n], err)
		}
	}
}
