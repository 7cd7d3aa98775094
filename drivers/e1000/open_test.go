package e1000

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	"github.com/sluice-os/sluice/drivers/nic"
	bus "github.com/sluice-os/sluice/drivers/pci"
)

func TestOpen(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		// What firmware or an earlier start may have left.
		c.regs[regCTRL] = ctrlVME | ctrlFRCSPD | ctrlTFCE
		c.regs[regTDH], c.regs[regRDT] = 7, 9
		d := mustOpen(t, c, Config{})
		want := nic.Info{Driver: "e1000", Location: "fake", MAC: testMAC, MTU: 1500, RxRing: 255, TxRing: 128,
			Offloads: nic.Offloads{TxChecksum: true, RxChecksum: true, TSO4: true, TSO6: c.model.express}}
		if d.Info() != want {
			t.Errorf("got  %+v\nwant %+v", d.Info(), want)
		}
		if !d.Link().Up {
			t.Error("link is down")
		}
		if c.memory.Used() > 2<<20 {
			t.Errorf("%d bytes of device memory, want at most 2 MiB", c.memory.Used())
		}
		if ctrl := c.reg(regCTRL); ctrl&(ctrlVME|ctrlFRCSPD|ctrlTFCE|ctrlGIOMasterDisable) != 0 || ctrl&ctrlSLU == 0 {
			t.Errorf("CTRL is %#x", ctrl)
		}
		if c.Read32(regIMS) != causeLSC {
			t.Errorf("interrupts %#x are on", c.Read32(regIMS))
		}
		if c.model.express && (c.reg(regTXDCTL)&txdctlCountDesc == 0 || c.reg(regTARC0)&(1<<10) == 0) {
			t.Errorf("TXDCTL %#x, TARC0 %#x", c.reg(regTXDCTL), c.reg(regTARC0))
		}
		works(t, d, c)
		works(t, d, c)
	})
}

// TestThrottle: the card is told to leave a pause between interrupts, 20,000 of them a second at
// most, and again after a reset.
func TestThrottle(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		// In units of 256 ns.
		const want = 1_000_000_000 / 20_000 / 256
		d := mustOpen(t, c, Config{})
		if got := c.reg(regITR); got != want {
			t.Errorf("ITR is %d after the start, want %d", got, want)
		}
		c.set(regITR, 0)
		d.Blocked(errors.New("x"))
		d.Receive(nic.NewBatch(1))
		if got := c.reg(regITR); got != want || count(d, "reset_blocked") != 1 {
			t.Errorf("ITR is %d after %d resets, want %d after one", got, count(d, "reset_blocked"), want)
		}
	})
}

func TestOpenRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		want  string
		spoil func(*card, *Config)
	}{
		"gone":            {"all ones", func(c *card, _ *Config) { c.gone = true }},
		"reset hangs":     {"reset", func(c *card, _ *Config) { c.hangs = true }},
		"no MAC":          {"no MAC", func(c *card, _ *Config) { c.noNVM, c.regs[regRAH0], c.keeps = true, 0, true }},
		"odd ring":        {"powers of two", func(_ *card, cfg *Config) { cfg.RxRing = 100 }},
		"negative ring":   {"rings of -8", func(_ *card, cfg *Config) { cfg.RxRing = -8 }},
		"long ring":       {"powers of two", func(_ *card, cfg *Config) { cfg.TxRing = 8192 }},
		"short ring":      {"longest frame", func(_ *card, cfg *Config) { cfg.TxRing = 8 }},
		"small arena":     {"transmit arena", func(_ *card, cfg *Config) { cfg.TxArena = 65536 }},
		"negative time":   {"timeout", func(_ *card, cfg *Config) { cfg.TxTimeout = -1 }},
		"no memory":       {"memory", func(c *card, _ *Config) { c.memory.Limit = 1 << 20 }},
		"less memory":     {"memory", func(c *card, _ *Config) { c.memory.Limit = 64 << 10 }},
		"no memory a bit": {"memory", func(c *card, _ *Config) { c.memory.Limit = 2 << 10 }},
	} {
		t.Run(name, func(t *testing.T) {
			card, cfg := newCard(&models[2]), Config{}
			c.spoil(card, &cfg)
			_, err := tryOpen(card, cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if card.memory.Used() != 0 {
				t.Errorf("%d bytes are lost", card.memory.Used())
			}
		})
	}
}

// TestMAC: the EEPROM's address counts when its sum is right, then the registers', then
// the configured one.
func TestMAC(t *testing.T) {
	registers := [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	other := [6]byte{2, 1, 0x80, 0xff, 0, 9}
	own := [6]byte{2, 0, 0, 0, 0, 1}
	for name, c := range map[string]struct {
		want  [6]byte
		spoil func(*card)
	}{
		"EEPROM":              {other, func(c *card) {}},
		"wrong sum":           {registers, func(c *card) { c.nvm[20]++ }},
		"group in the EEPROM": {registers, func(c *card) { c.nvm[0] |= 1; c.fixSum() }},
		"empty EEPROM":        {registers, func(c *card) { c.nvm[0], c.nvm[1], c.nvm[2] = 0, 0, 0; c.fixSum() }},
		"silent EEPROM":       {registers, func(c *card) { c.noNVM = true }},
		"nothing":             {own, func(c *card) { c.noNVM, c.keeps = true, true; c.regs[regRAH0] = 0 }},
		"group everywhere":    {own, func(c *card) { c.noNVM, c.keeps = true, true; c.regs[regRAL0] |= 1 }},
	} {
		for i := range models {
			t.Run(name+" "+models[i].name, func(t *testing.T) {
				card := newCard(&models[i])
				for j := range 3 {
					card.nvm[j] = uint16(other[2*j]) | uint16(other[2*j+1])<<8
				}
				card.fixSum()
				c.spoil(card)
				d := mustOpen(t, card, Config{MAC: own})
				if d.Info().MAC != c.want {
					t.Errorf("MAC %x, want %x", d.Info().MAC, c.want)
				}
				frame := frameOf(60, 0)
				copy(frame, c.want[:])
				if !card.deliver(frame) {
					t.Error("the card's filter does not know the address")
				}
			})
		}
	}
}

func TestLink(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		d := mustOpen(t, c, Config{})
		for i, up := range []bool{false, true, false} {
			if !d.Arm() {
				t.Fatal("not armed")
			}
			c.setLink(up)
			d.Wait()
			d.Disarm()
			if d.Link().Up != up {
				t.Errorf("change %d: link %v", i, d.Link())
			}
		}
		if count(d, "link_changes") != 3 || c.irq.Raised() {
			t.Errorf("link_changes is %d, interrupt %t", count(d, "link_changes"), c.irq.Raised())
		}
	})
}

// TestLinkChangesUnseen: a change whose interrupt was lost is noticed before the poller
// waits.
func TestLinkChangesUnseen(t *testing.T) {
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	c.mu.Lock()
	c.linkUp = false
	c.mu.Unlock()
	if d.Arm() || d.Link().Up || !d.Arm() {
		t.Errorf("link %v", d.Link())
	}
}

// function is configuration space with one function: a card.
type function map[uint16]uint32

func (f function) Read32(a bus.Address, off uint16) uint32 {
	if a != (bus.Address{Device: 3}) {
		return allOnes
	}
	return f[off]
}

func (f function) Write32(a bus.Address, off uint16, v uint32) {
	switch off {
	case 4: // status behind command
		v = v&0xffff | f[off]&0xffff0000
	case 0x10:
		v = v&^0x1ffff | f[off]&0xf
	}
	f[off] = v
}

// line is an interrupt that is no message.
type line struct{ fakehw.Interrupt }

func (line) MSI() (uint64, uint32, bool) { return 0, 0, false }

// timer is an interrupt of a card that nobody hears.
type timer struct {
	line
	stops int
}

func (t *timer) Stop() { t.stops++ }

// TestPolledStops: nothing looks after a card any more that is given up.
func TestPolledStops(t *testing.T) {
	c := newCard(&models[0])
	irq := &timer{line: line{c.irq}}
	now := &cardtest.Clock{}
	d, err := open(c, irq, c.model, "fake", func() {}, c.dma, Config{Now: now.Now, Sleep: now.Sleep})
	if err != nil {
		t.Fatal(err)
	}
	d.Blocked(errors.New("x"))
	d.Receive(nic.NewBatch(1))
	if works(t, d, c); irq.stops != 0 {
		t.Error("stopped when it was reset")
	}
	c.hangs = true
	d.Blocked(errors.New("x"))
	d.Receive(nic.NewBatch(1))
	if irq.stops != 1 {
		t.Errorf("stopped %d times", irq.stops)
	}
	cardtest.GivenUp(t, d)
}

// left is a card with MSI and MSI-X turned on.
func left(id uint32) function {
	return function{0: id, 0x10: 0xfeb80000, 4: 1<<20 | bus.CommandINTxDisable, 0x34: 0xd0, 0xd0: 5 | 0xa0<<8 | 1<<16 | 1<<23, 0xa0: 0x11 | 1<<31 | 1<<30}
}

// TestFunction opens cards as they lie on the bus.
func TestFunction(t *testing.T) {
	const command, status, bar0, capabilities, msi = 4, 1 << 20, 0x10, 0x34, 0xd0
	for name, c := range map[string]struct {
		space function
		msi   bool
		want  string
	}{
		"line":        {function{0: 0x100e_8086, bar0: 0xfeb80000}, false, ""},
		"polled":      {function{0: 0x100e_8086, bar0: 0xfeb80000}, false, ""},
		"line, left":  {left(0x100f_8086), false, ""}, // as a boot loader may leave it
		"polled left": {left(0x100f_8086), false, ""},
		"message":     {function{0: 0x10d3_8086, bar0: 0xfeb80000, command: status, capabilities: msi, msi: 5 | 1<<23, 0x2c: 0x1234_8086}, true, ""},
		"QEMU's":      {function{0: 0x10d3_8086, bar0: 0xfeb80000, command: status, capabilities: msi, msi: 5 | 1<<23}, true, ""},
		"other":       {function{0: 0x1234_8086, bar0: 0xfeb80000}, false, "want 8086:100e"},
		"not Intel's": {function{0: 0x100e_1af4, bar0: 0xfeb80000}, false, "want 8086:100e"},
		"no MSI":      {function{0: 0x10d3_8086, bar0: 0xfeb80000}, true, "no MSI"},
		"bad MSI":     {function{0: 0x100f_8086, bar0: 0xfeb80000, command: status | 4, capabilities: msi, msi: 5 | 1<<23}, true, "no MSI that works"},
		"ports":       {function{0: 0x100e_8086, bar0: 0x20001}, false, "ports"},
		"unassigned":  {function{0: 0x100e_8086}, false, "no address"},
		"unmappable":  {function{0: 0x100e_8086, bar0: 0xfeb80000}, false, "no room"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := bus.Enumerate(c.space)
			if err != nil || len(found) != 1 {
				t.Fatal(found, err)
			}
			m := modelOf(found[0])
			if m == nil {
				m = &models[0]
			}
			card := newCard(m)
			irq := hw.Interrupt(line{card.irq})
			now, polled := &cardtest.Clock{}, strings.HasPrefix(name, "polled")
			switch {
			case c.msi:
				irq = card.irq
			case polled:
				irq = &timer{line: line{card.irq}}
			}
			d, err := Open(found[0], func(phys, size uint64) (hw.Registers, error) {
				if name == "unmappable" {
					return nil, errors.New("no room")
				}
				if phys != 0xfeb80000 || size != windowBytes {
					t.Errorf("mapped %#x, %#x bytes", phys, size)
				}
				return card, nil
			}, irq, card.dma, Config{Sleep: now.Sleep})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if got := c.space[command] & (bus.CommandBusMaster | bus.CommandINTxDisable); modelOf(found[0]) != nil && got != bus.CommandINTxDisable {
					t.Errorf("left out with command %#x", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			works(t, d, card)
			if ByMessage(found[0]) != c.msi {
				t.Errorf("signals by messages: %t", !c.msi)
			}
			if d.Info().Location != "pci 00:03.0" || d.Info().Offloads.TSO6 != (name == "message") {
				t.Errorf("%+v", d.Info())
			}
			if got := c.space[command] & 0x406; got != 6|map[bool]uint32{true: bus.CommandINTxDisable}[c.msi || polled] {
				t.Errorf("command %#x", got)
			}
			if want := map[bool]int{false: DefaultRing, true: PolledRing}[polled] - 1; d.Info().RxRing != want || card.held() != want {
				t.Errorf("a ring for %d frames, of which the card has %d, want %d", d.Info().RxRing, card.held(), want)
			}
			if card.heard == polled {
				t.Errorf("it was let interrupt: %t", card.heard)
			}
			if on := c.space[msi]&(1<<16) != 0; on != c.msi || c.space[0xa0]&(1<<31) != 0 {
				t.Errorf("MSI is on: %t, MSI-X: %#x", on, c.space[0xa0])
			}
		})
	}
}
