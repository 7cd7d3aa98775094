// Package cardtest is what the tests of all drivers of network cards have in common: the
// frames, the one who calls a driver, its clock, and what must hold for each nic.Device.
// What a card does on its side of the rings is each driver's own.
package cardtest

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
)

// MAC is the address of the card under test.
var MAC = [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// Frame returns a frame of n bytes to the card, with a pattern that depends on seed.
func Frame(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*7 + byte(i>>8) + seed
	}
	copy(b, MAC[:])
	return b
}

// Contents returns a copy of the frame that lies in the buffers of p.
func Contents(p *nic.Packet) []byte {
	var pieces [][]byte
	for _, b := range p.Buffers {
		pieces = append(pieces, b.Bytes)
	}
	return bytes.Join(pieces, nil)
}

// Fill writes frame into a reserved packet.
func Fill(p *nic.Packet, frame []byte) {
	for _, b := range p.Buffers {
		frame = frame[copy(b.Bytes, frame):]
	}
}

// Count returns a counter of d. It panics when there is none of that name.
func Count(d nic.Device, name string) (value uint64) {
	found := false
	d.Counters(func(n string, v uint64) {
		if n == name {
			found, value = true, v
		}
	})
	if !found {
		panic("no counter " + name)
	}
	return value
}

// Uncounted checks that d has counted nothing under those names.
func Uncounted(t testing.TB, d nic.Device, names ...string) {
	t.Helper()
	for _, name := range names {
		if v := Count(d, name); v != 0 {
			t.Errorf("%s is %d", name, v)
		}
	}
}

// Send reserves, writes and transmits one frame.
func Send(t testing.TB, d nic.Device, frame []byte) {
	t.Helper()
	batch := nic.NewBatch(1)
	if !d.Reserve(&batch[0], len(frame)) {
		t.Fatal("no room to transmit")
	}
	Fill(&batch[0], frame)
	d.Transmit(batch)
}

// Clock is a virtual clock that moves a millisecond each time it is read, and by what is
// slept. The zero Clock is ready; it may be used concurrently.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is a driver's Config.Now.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Millisecond)
	return c.now
}

// Sleep is a driver's Config.Sleep.
func (c *Clock) Sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
