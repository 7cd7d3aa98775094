// This file owns the engine of the tests' card, which moves frames through the rings as the
// manual says, in test memory.

package e1000

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

// at returns memory as the card reaches it, and panics where it was given none.
func (c *card) at(addr uint64, n int, way hw.Direction) []byte {
	b, err := c.memory.At(addr, n, way, true)
	if err != nil {
		panic(err)
	}
	return b
}

// desc returns a descriptor: its address, and where its word is.
func (c *card) desc(low, high uint64, index uint32) (addr uint64, word *uint64) {
	base := uint64(c.regs[high])<<32 | uint64(c.regs[low])
	b := c.at(base+uint64(index)*descBytes, descBytes, hw.Both)
	// Rings start at pages, so that both halves are aligned.
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[0]))), (*uint64)(unsafe.Pointer(&b[8]))
}

var errNoRoom = errors.New("no receive buffer")

// deliver has a frame arrive.
func (c *card) deliver(frame []byte) bool { return c.arrive(frame, rxEOP|rxIXSM, len(frame)) == nil }

// arrive has a frame arrive with those bits in its descriptor, under a length that may
// be a lie.
func (c *card) arrive(frame []byte, bits uint64, length int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.accepts(frame) {
		return errors.New("frame does not pass the filter")
	}
	head, tail := c.regs[regRDH], c.regs[regRDT]
	if c.regs[regRCTL]&rctlEN == 0 || head == tail {
		c.regs[0x4010]++ // MPC
		c.cause(causeRXO)
		return errNoRoom
	}
	addr, word := c.desc(regRDBAL, regRDBAH, head)
	if !c.spoilt {
		copy(c.at(addr, rxBuffer, hw.FromDevice), frame)
	}
	atomic.StoreUint64(word, uint64(length)|bits|rxDD)
	c.regs[regRDH] = (head + 1) % (c.regs[regRDLEN] / descBytes)
	c.cause(causeRXT0)
	return nil
}

// accepts is the filter of receive addresses.
func (c *card) accepts(frame []byte) bool {
	rctl := c.regs[regRCTL]
	switch {
	case len(frame) < 6:
		return true // for tests of what no card does
	case bytes.Equal(frame[:6], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}):
		return rctl&rctlBAM != 0
	case frame[0]&1 != 0:
		// As the manual has it, section 13.5.1: the address as a number whose first byte is
		// the lowest, of which MO 0 takes bits 47:36.
		number := binary.LittleEndian.Uint64(append(frame[:6:6], 0, 0))
		at := number >> 36 & 0xfff
		return c.regs[0x5200+4*(at>>5)]>>(at&31)&1 != 0
	}
	own := binary.LittleEndian.AppendUint32(nil, c.regs[regRAL0])
	own = binary.LittleEndian.AppendUint16(own, uint16(c.regs[regRAH0]))
	return c.regs[regRAH0]&rahAV != 0 && bytes.Equal(frame[:6], own)
}

// held returns how many receive buffers the card has.
func (c *card) held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := c.regs[regRDLEN] / descBytes
	return int((c.regs[regRDT] + size - c.regs[regRDH]) % size)
}

// transmitAll sends what is queued and returns all that was sent since the last time.
func (c *card) transmitAll() []sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transmit()
	list := c.wire
	c.wire = nil
	return list
}

// transmit sends what is queued.
func (c *card) transmit() {
	if c.regs[regTCTL]&tctlEN == 0 {
		return
	}
	causes := uint32(0)
	for c.regs[regTDH] != c.regs[regTDT] {
		addr, word := c.desc(regTDBAL, regTDBAH, c.regs[regTDH])
		v := atomic.LoadUint64(word)
		c.take(addr, v)
		if v&txRS != 0 {
			atomic.StoreUint64(word, v|txDD)
			causes |= causeTXDW
		}
		c.regs[regTDH] = (c.regs[regTDH] + 1) % (c.regs[regTDLEN] / descBytes)
	}
	c.cause(causes)
}

// transmitQuietly marks all that is queued as sent, without looking at it.
func (c *card) transmitQuietly() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.regs[regTDH] != c.regs[regTDT] {
		_, word := c.desc(regTDBAL, regTDBAH, c.regs[regTDH])
		atomic.StoreUint64(word, atomic.LoadUint64(word)|txDD)
		c.regs[regTDH] = (c.regs[regTDH] + 1) % (c.regs[regTDLEN] / descBytes)
	}
}
