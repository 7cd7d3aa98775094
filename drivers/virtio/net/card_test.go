// This file owns the device's side of a network card for the tests.

package net

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/internal/fake"
)

// full is what the best of cards offers.
const full = virtio.FeatureVersion1 | virtio.FeatureAccessPlatform | virtio.FeatureEventIndex | virtio.FeatureIndirect | wanted

// What the tests of all cards have, by the names that these tests use.
var (
	testMAC, frameOf, contents = cardtest.MAC, cardtest.Frame, cardtest.Contents
	fill, send, count          = cardtest.Fill, cardtest.Send, cardtest.Count
)

// card is a network card in front of a fake device.
type card struct {
	*fake.Device
	// silent keeps the control queue unanswered; nack has it refuse.
	silent, nack bool

	mu       sync.Mutex
	commands [][]byte
}

func newCard(features uint64) *card {
	config := make([]byte, 12)
	copy(config, testMAC[:])
	config[configStatus] = statusLinkUp
	binary.LittleEndian.PutUint16(config[configMTU:], 1500)
	c := &card{Device: fake.New(virtio.DeviceNet, features, config)}
	c.OnNotify = func(q int) {
		if q == queueControl && !c.silent {
			c.serveControl()
		}
	}
	return c
}

func (c *card) serveControl() {
	for chain, ok := c.Pop(queueControl); ok; chain, ok = c.Pop(queueControl) {
		var out []byte
		for _, s := range chain.Segments {
			if !s.Writable {
				out = append(out, s.Bytes...)
			}
		}
		c.mu.Lock()
		c.commands = append(c.commands, out)
		c.mu.Unlock()
		ack := chain.Segments[len(chain.Segments)-1].Bytes
		ack[0] = 0
		if c.nack {
			ack[0] = 1
		}
		c.Push(queueControl, uint32(chain.Head), 1)
		c.Flush(queueControl)
	}
}

// deliver writes a frame behind h into as many buffers as it takes, and reports
// false when the driver has not lent enough.
func (c *card) deliver(h header, frame []byte) bool {
	if !c.push(h, frame) {
		return false
	}
	c.Flush(queueReceive)
	return true
}

// push is deliver without showing the frame yet.
func (c *card) push(h header, frame []byte) bool {
	const size = DefaultRxBuffer
	need := (headerBytes + len(frame) + size - 1) / size
	if c.Available(queueReceive) < need {
		return false
	}
	if h.buffers == 0 {
		h.buffers = uint16(need)
	}
	for i := range need {
		chain, _ := c.Pop(queueReceive)
		b := chain.Segments[0].Bytes
		off := 0
		if i == 0 {
			h.put(b)
			off = headerBytes
		}
		n := copy(b[off:], frame)
		frame = frame[n:]
		c.Push(queueReceive, uint32(chain.Head), uint32(off+n))
	}
	return true
}

// sent is a frame that the card was given.
type sent struct {
	header   header
	frame    []byte
	segments int
	indirect bool
}

// collect takes what the driver has queued, without finishing it.
func (c *card) collect() (frames []sent, heads []uint32) {
	for chain, ok := c.Pop(queueTransmit); ok; chain, ok = c.Pop(queueTransmit) {
		var b []byte
		for _, s := range chain.Segments {
			b = append(b, s.Bytes...)
		}
		frames = append(frames, sent{parseHeader(b), b[headerBytes:], len(chain.Segments), chain.Indirect})
		heads = append(heads, uint32(chain.Head))
	}
	return
}

func (c *card) finish(heads ...uint32) {
	for _, h := range heads {
		c.Push(queueTransmit, h, 0)
	}
	c.Flush(queueTransmit)
}

// transmitAll takes and finishes what is queued.
func (c *card) transmitAll() []sent {
	frames, heads := c.collect()
	c.finish(heads...)
	return frames
}

func mustOpen(t testing.TB, c *card, cfg Config) *Device {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = new(cardtest.Clock).Now
	}
	d, err := Open(c, c.DMA, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// side is the card for the tests that all drivers have.
func (c *card) side() cardtest.Card {
	return cardtest.Card{
		Deliver: func(frame []byte) bool { return c.deliver(header{}, frame) },
		Held:    func() int { return c.Available(queueReceive) },
		Raised:  c.Irq.Raised,
		Sent: func() (frames [][]byte) {
			for _, s := range c.transmitAll() {
				frames = append(frames, s.frame)
			}
			return frames
		},
	}
}

// works checks that a frame goes each way and that no buffer is lost.
func works(t testing.TB, d *Device, c *card) {
	t.Helper()
	cardtest.Works(t, d, c.side())
}
