// This file owns the card's side for the tests: a register file. rings_test.go owns the
// engine behind it, wire_test.go what that does to the frames.

package e1000

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
)

// What the tests of all cards have, by the names that these tests use.
var (
	testMAC, frameOf, contents = cardtest.MAC, cardtest.Frame, cardtest.Contents
	fill, send, count          = cardtest.Fill, cardtest.Send, cardtest.Count
)

// card is a controller. Its methods may be called concurrently.
type card struct {
	model  *model
	memory *fakehw.Allocator
	dma    *hw.DMA
	irq    fakehw.Interrupt

	mu       sync.Mutex
	regs     map[uint64]uint32
	icr, ims uint32
	nvm      [nvmWords]uint16
	noNVM    bool
	linkUp   bool
	gone     bool // the card was pulled
	hangs    bool // a reset does not end
	keeps    bool // a reset keeps the registers, as QEMU's does
	resets   int
	silenced int
	heard    bool // an interrupt was on at some time
	spoilt   bool // addresses in its rings may be anything
	notifies map[uint64]int
	written  func(off uint64) // is called after each write to a register, with mu held; nil: nothing is

	auto    bool   // frames are sent as soon as they are queued
	wire    []sent // what was sent
	context [2]uint64
	pending []byte // data of the frame at hand
	options uint64 // its first data descriptor
	descs   int
}

func newCard(m *model) *card {
	memory := &fakehw.Allocator{}
	c := &card{model: m, memory: memory, dma: hw.NewDMA(memory, memory), irq: fakehw.NewInterrupt(),
		regs: map[uint64]uint32{}, linkUp: true, notifies: map[uint64]int{}}
	for i := range 3 {
		c.nvm[i] = uint16(testMAC[2*i]) | uint16(testMAC[2*i+1])<<8
	}
	c.fixSum()
	c.clear()
	return c
}

// fixSum makes the sum of the EEPROM right.
func (c *card) fixSum() {
	sum := uint16(0)
	for _, w := range c.nvm[:nvmWords-1] {
		sum += w
	}
	c.nvm[nvmWords-1] = nvmChecksum - sum
}

// clear is what a reset does.
func (c *card) clear() {
	clear(c.regs)
	c.icr, c.ims = 0, 0
	c.regs[regRAL0] = binary.LittleEndian.Uint32(testMAC[:])
	c.regs[regRAH0] = uint32(testMAC[4]) | uint32(testMAC[5])<<8 | rahAV
	c.regs[regTARC0] = 1<<10 | 3
	c.pending, c.descs = nil, 0
}

func (c *card) Size() uint64           { return windowBytes }
func (c *card) Read8(uint64) uint8     { panic("8-bit access") }
func (c *card) Read16(uint64) uint16   { panic("16-bit access") }
func (c *card) Write8(uint64, uint8)   { panic("8-bit access") }
func (c *card) Write16(uint64, uint16) { panic("16-bit access") }

func (c *card) Read32(off uint64) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return allOnes
	}
	switch off {
	case regSTATUS:
		v := uint32(0)
		if c.linkUp {
			v = statusLU
		}
		if c.regs[regCTRL]&ctrlGIOMasterDisable == 0 {
			v |= statusGIOMasterEnable
		}
		return v
	case regEECD:
		return eecdAutoRD
	case regEERD:
		return c.readEERD()
	case regICR:
		v := c.icr
		if !c.model.express || c.ims == 0 {
			c.icr = 0
		}
		return v
	case regICS:
		return c.icr
	case regIMS:
		return c.ims
	}
	v := c.regs[off]
	if off >= statistics[0].offset && off < regRXCSUM {
		delete(c.regs, off)
	}
	return v
}

func (c *card) readEERD() uint32 {
	v := c.regs[regEERD]
	if v&eerdStart == 0 || c.noNVM {
		return v
	}
	word := (v &^ eerdStart) >> c.model.eerdAddress
	return v&^eerdStart | c.model.eerdDone | uint32(c.nvm[word%nvmWords])<<eerdData
}

func (c *card) Write32(off uint64, v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	if off%4 != 0 || off >= windowBytes {
		panic(fmt.Sprintf("write at %#x", off))
	}
	c.notifies[off]++
	switch off {
	case regIMS:
		c.heard = c.heard || v != 0
		c.ims |= v
	case regIMC:
		c.ims &^= v
	case regICR:
		c.icr &^= v
	case regICS:
		c.icr |= v
	case regCTRL:
		c.regs[off] = v
		if v&ctrlRST != 0 && !c.hangs {
			c.resets++
			if !c.keeps {
				c.clear()
			}
			c.regs[regCTRL] &^= ctrlRST
		}
	case regTDT:
		c.regs[off] = v
		if c.auto {
			c.transmit()
		}
	default:
		c.regs[off] = v
	}
	c.interrupt()
	if c.written != nil {
		c.written(off)
	}
}

// cause sets causes of an interrupt.
func (c *card) cause(v uint32) {
	c.icr |= v
	c.interrupt()
}

func (c *card) interrupt() {
	if c.icr&c.ims != 0 {
		c.irq.Raise()
	}
}

// setLink changes the link.
func (c *card) setLink(up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.linkUp != up {
		c.linkUp = up
		c.cause(causeLSC)
	}
}

// reg returns what the driver has written to a register.
func (c *card) reg(off uint64) uint32 { c.mu.Lock(); defer c.mu.Unlock(); return c.regs[off] }

func (c *card) set(off uint64, v uint32) { c.mu.Lock(); defer c.mu.Unlock(); c.regs[off] = v }

// tryOpen opens the card on a virtual clock.
func tryOpen(c *card, cfg Config) (*Device, error) {
	now := &cardtest.Clock{}
	if cfg.Now == nil {
		cfg.Now = now.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = now.Sleep
	}
	return open(c, c.irq, c.model, "fake", func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.silenced++
	}, c.dma, cfg)
}

func mustOpen(t testing.TB, c *card, cfg Config) *Device {
	t.Helper()
	d, err := tryOpen(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// each runs a test with each model, whose reset clears registers or keeps them.
func each(t *testing.T, f func(t *testing.T, c *card)) {
	for i := range models {
		for _, keeps := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s keeps=%t", models[i].name, keeps), func(t *testing.T) {
				c := newCard(&models[i])
				c.keeps = keeps
				f(t, c)
			})
		}
	}
}

// side is the card for the tests that all drivers have.
func (c *card) side() cardtest.Card {
	return cardtest.Card{Deliver: c.deliver, Held: c.held, Raised: c.irq.Raised, Sent: func() (frames [][]byte) {
		for _, s := range c.transmitAll() {
			frames = append(frames, s.frame)
		}
		return frames
	}}
}

// works checks that a frame goes each way and that no buffer is lost.
func works(t testing.TB, d *Device, c *card) {
	t.Helper()
	c.transmitAll()
	cardtest.Works(t, d, c.side())
}
