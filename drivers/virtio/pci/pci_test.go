package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	bus "github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/drivers/virtio"
)

const barAddress = 0x8_e0000000

// Where the card has its structures in BAR 4.
const (
	offCommon = 0x0000
	offISR    = 0x1000
	offDevice = 0x2000
	offNotify = 0x3000
	offTable  = 0x4000
	barBytes  = 0x8000
)

// card is a virtio device on bus 0: configuration space and one 64-bit BAR.
type card struct {
	config    [64]uint32
	bar       [barBytes]byte
	writes    []string
	features  [2]uint32
	isr       uint64
	hangReset bool
	noVectors bool
}

func newCard() *card {
	c := &card{features: [2]uint32{0x11, 0x22}, isr: offISR}
	c.config[0] = 0x1041_1af4
	c.config[1] = 1 << 20
	c.config[2] = 0x02000001
	c.config[4+4], c.config[4+5] = uint32(barAddress&0xffffffff)|0xc, barAddress>>32
	c.config[0x34/4] = 0x98
	c.config[0x98/4] = 0x11 | 0x84<<8 | 3<<16
	c.config[0x9c/4] = offTable | 4
	c.capability(0x84, 0x70, capNotify, 20, offNotify, 0x1000)
	c.config[0x94/4] = 4
	c.capability(0x70, 0x60, capDevice, 16, offDevice, 0x1000)
	c.capability(0x60, 0x50, capISR, 16, offISR, 0x1000)
	c.capability(0x50, 0x40, capCommon, 16, offCommon, 0x1000)
	c.capability(0x40, 0, 5, 20, 0, 0)
	c.put16(offCommon+regNumQueues, 3)
	c.put16(offCommon+regQueueSize, 256)
	return c
}

func (c *card) capability(at, next, kind, length int, offset, size uint32) {
	c.config[at/4] = bus.CapVendor | uint32(next)<<8 | uint32(length)<<16 | uint32(kind)<<24
	c.config[at/4+1] = 4
	c.config[at/4+2] = offset
	c.config[at/4+3] = size
}

func (c *card) put16(off int, v uint16) { binary.LittleEndian.PutUint16(c.bar[off:], v) }

func (c *card) Read32(a bus.Address, off uint16) uint32 {
	if a != (bus.Address{}) || off >= bus.ConfigBytes {
		return 0xffffffff
	}
	return c.config[off/4]
}

func (c *card) Write32(a bus.Address, off uint16, v uint32) {
	switch {
	case off == 0x04:
		v = c.config[1]&0xffff0000 | v
	case off == 0x20:
		v = v&^(barBytes-1) | 0xc
	case off >= 0x10 && off < 0x24:
		return
	}
	c.config[off/4] = v
}

// function returns the card as bus enumeration finds it.
func (c *card) function(t testing.TB) *bus.Function {
	t.Helper()
	found, err := bus.Enumerate(c)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

func (c *card) mapper(phys, size uint64) (hw.Registers, error) {
	if phys < barAddress || phys-barAddress+size > barBytes {
		return nil, fmt.Errorf("no registers at %#x", phys)
	}
	return registers{c, phys - barAddress, size}, nil
}

// registers is a part of the card's BAR.
type registers struct {
	c          *card
	base, size uint64
}

func (w registers) at(off, width uint64) []byte {
	if off%width != 0 || off+width > w.size {
		panic(fmt.Sprintf("%d bytes at %#x of %#x", width, off, w.size))
	}
	return w.c.bar[w.base+off:]
}

func (w registers) Size() uint64 { return w.size }

func (w registers) Read8(off uint64) uint8 {
	b := w.at(off, 1)
	v := b[0]
	if w.base+off == w.c.isr {
		b[0] = 0
	}
	return v
}

func (w registers) Read16(off uint64) uint16 { return binary.LittleEndian.Uint16(w.at(off, 2)) }

func (w registers) Read32(off uint64) uint32 {
	if w.base+off == offCommon+regDeviceFeature {
		return w.c.features[w.Read32(regDeviceFeatureSelect)]
	}
	return binary.LittleEndian.Uint32(w.at(off, 4))
}

func (w registers) log(width int, off uint64, v uint32) {
	w.c.writes = append(w.c.writes, fmt.Sprintf("%04x/%d=%x", w.base+off, width, v))
}

func (w registers) Write8(off uint64, v uint8) {
	w.log(1, off, uint32(v))
	if off == regDeviceStatus && v == 0 && w.c.hangReset {
		return
	}
	w.at(off, 1)[0] = v
}

func (w registers) Write16(off uint64, v uint16) {
	w.log(2, off, uint32(v))
	if w.c.noVectors && (off == regConfigMSIXVector || off == regQueueMSIXVector) {
		v = noVector
	}
	binary.LittleEndian.PutUint16(w.at(off, 2), v)
}

func (w registers) Write32(off uint64, v uint32) {
	w.log(4, off, v)
	binary.LittleEndian.PutUint32(w.at(off, 4), v)
}

func interrupts() Interrupts {
	return Interrupts{Queues: fakehw.NewInterrupt(), Config: fakehw.NewInterrupt()}
}

func mustNew(t *testing.T, c *card, irq Interrupts) *Transport {
	t.Helper()
	dev, err := New(c.function(t), c.mapper, irq)
	if err != nil {
		t.Fatal(err)
	}
	c.writes = nil
	return dev
}

func TestNew(t *testing.T) {
	c := newCard()
	dev := mustNew(t, c, interrupts())
	if dev.DeviceType() != virtio.DeviceNet || dev.Location() != "pci 00:00.0" {
		t.Errorf("type %d at %s", dev.DeviceType(), dev.Location())
	}
	if command := uint16(c.config[1]); command != bus.CommandMemory|bus.CommandBusMaster|bus.CommandINTxDisable {
		t.Errorf("command %#x", command)
	}
	if c.config[0x98/4]>>31 != 1 {
		t.Error("MSI-X is off")
	}
	for vector, masked := range []uint32{0, 0, 1, 1} {
		entry := c.bar[offTable+16*vector:]
		addr, control := binary.LittleEndian.Uint32(entry), binary.LittleEndian.Uint32(entry[12:])
		if control != masked || masked == 0 && addr != 0xfee00000 {
			t.Errorf("vector %d: address %#x, control %d", vector, addr, control)
		}
	}
	if dev.QueueMax(0) != 256 || dev.QueueMax(3) != 0 || dev.QueueMax(queuesMax) != 0 {
		t.Error("queue sizes")
	}
}

func TestTransitional(t *testing.T) {
	c := newCard()
	c.config[0] = 0x1000_1af4
	c.config[0x2c/4] = 0x0001_1af4
	if dev := mustNew(t, c, Interrupts{}); dev.DeviceType() != virtio.DeviceNet {
		t.Errorf("type %d", dev.DeviceType())
	}
}

func TestNewRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*card)
		is    error
		want  string
	}{
		"other vendor":       {func(c *card) { c.config[0] = 0x1041_8086 }, virtio.ErrNoDevice, "8086:1041"},
		"other device":       {func(c *card) { c.config[0] = 0x1110_1af4 }, virtio.ErrNoDevice, "1af4:1110"},
		"legacy":             {func(c *card) { c.config[0] = 0x1000_1af4; c.config[0x34/4] = 0 }, virtio.ErrLegacy, "disable-legacy=on"},
		"no common":          {func(c *card) { c.capability(0x50, 0x40, 9, 16, 0, 0x1000) }, virtio.ErrLegacy, "modern"},
		"common too short":   {func(c *card) { c.capability(0x50, 0x40, capCommon, 16, 0, 0x37) }, nil, "common registers"},
		"common over BAR":    {func(c *card) { c.capability(0x50, 0x40, capCommon, 16, barBytes-0x20, 0x38) }, nil, "common registers"},
		"common far over":    {func(c *card) { c.capability(0x50, 0x40, capCommon, 16, 0xfffffffc, 0xffffffff) }, nil, "common registers"},
		"common misaligned":  {func(c *card) { c.capability(0x50, 0x40, capCommon, 16, 2, 0x38) }, nil, "common registers"},
		"notify misaligned":  {func(c *card) { c.capability(0x84, 0x70, capNotify, 20, offNotify+1, 0x1000) }, nil, "notify registers"},
		"device misaligned":  {func(c *card) { c.capability(0x70, 0x60, capDevice, 16, offDevice+2, 0x1000) }, nil, "device registers"},
		"BAR 200":            {func(c *card) { c.config[0x54/4] = 200 }, nil, "no BAR 200"},
		"BAR 0":              {func(c *card) { c.config[0x54/4] = 0 }, nil, "not implemented"},
		"short capability":   {func(c *card) { c.capability(0x50, 0x40, capCommon, 15, 0, 0x1000) }, virtio.ErrLegacy, "modern"},
		"notify no stride":   {func(c *card) { c.capability(0x84, 0x70, capNotify, 16, offNotify, 0x1000) }, virtio.ErrLegacy, "modern"},
		"device over BAR":    {func(c *card) { c.capability(0x70, 0x60, capDevice, 16, barBytes, 4) }, nil, "device registers"},
		"unassigned":         {func(c *card) { c.config[8], c.config[9] = 0xc, 0 }, bus.ErrUnassigned, "no address"},
		"no MSI-X":           {func(c *card) { c.config[0x34/4] = 0x84 }, bus.ErrNoMSIX, "MSI-X"},
		"one vector":         {func(c *card) { c.config[0x98/4] &^= 3 << 16 }, nil, "vectors=2"},
		"table over the BAR": {func(c *card) { c.config[0x9c/4] = barBytes | 4 }, nil, "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			card := newCard()
			c.spoil(card)
			_, err := New(card.function(t), card.mapper, interrupts())
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	c := newCard()
	if _, err := New(c.function(t), c.mapper, Interrupts{Queues: fakehw.NewInterrupt()}); err == nil {
		t.Error("one interrupt of two taken")
	}
	if _, err := New(c.function(t), c.mapper, Interrupts{Queues: line{}, Config: line{}}); err == nil || !strings.Contains(err.Error(), "message-signalled") {
		t.Errorf("line interrupts: %v", err)
	}
}

// line is an interrupt without a message.
type line struct{}

func (line) Wait()                       {}
func (line) Raise()                      {}
func (line) MSI() (uint64, uint32, bool) { return 0, 0, false }

func TestRegisters(t *testing.T) {
	c := newCard()
	dev := mustNew(t, c, interrupts())
	if f := dev.DeviceFeatures(); f != 0x22_0000_0011 {
		t.Errorf("features %#x", f)
	}
	c.writes = nil
	dev.SetDriverFeatures(0x44_0000_0033)
	dev.SetStatus(11)
	if want := []string{"0008/4=0", "000c/4=33", "0008/4=1", "000c/4=44", "0014/1=b"}; !slices.Equal(c.writes, want) {
		t.Errorf("wrote %v, want %v", c.writes, want)
	}
	if dev.Status() != 11 {
		t.Errorf("status %d", dev.Status())
	}
	c.bar[regConfigGeneration] = 7
	c.bar[offDevice+5] = 0x56
	if dev.ConfigGeneration() != 7 || dev.Config().Read8(5) != 0x56 {
		t.Error("configuration")
	}
	c.put16(regQueueNotifyOff, 2)
	c.writes = nil
	a := virtio.QueueAddresses{Size: 128, Desc: 0x1_0000_1000, Driver: 0x2_0000_2000, Device: 0x3_0000_3000}
	if err := dev.EnableQueue(1, a); err != nil {
		t.Fatal(err)
	}
	dev.Notify(1)
	want := []string{"0016/2=1", "001a/2=0", "0018/2=80", "0020/4=1000", "0024/4=1", "0028/4=2000", "002c/4=2",
		"0030/4=3000", "0034/4=3", "001c/2=1", "3008/2=1"}
	if !slices.Equal(c.writes, want) {
		t.Errorf("wrote %v,\nwant  %v", c.writes, want)
	}
	c.put16(regQueueNotifyOff, 0x400)
	if err := dev.EnableQueue(1, a); err == nil {
		t.Error("doorbell outside its window taken")
	}
}

func TestReset(t *testing.T) {
	c := newCard()
	dev := mustNew(t, c, interrupts())
	dev.SetStatus(15)
	if err := dev.Reset(); err != nil || dev.Status() != 0 {
		t.Errorf("%v, status %d", err, dev.Status())
	}
	if want := []string{"0014/1=f", "0014/1=0", "0010/2=1"}; !slices.Equal(c.writes, want) {
		t.Errorf("wrote %v, want %v", c.writes, want)
	}
	c.noVectors = true
	if err := dev.Reset(); err == nil || !strings.Contains(err.Error(), "vector") {
		t.Errorf("no vector: %v", err)
	}
	dev.SetStatus(15)
	c.hangReset = true
	if err := dev.Reset(); !errors.Is(err, virtio.ErrResetTimeout) {
		t.Errorf("hanging reset: %v", err)
	}
}

// TestWithoutInterrupts leaves MSI-X alone.
func TestWithoutInterrupts(t *testing.T) {
	c := newCard()
	dev := mustNew(t, c, Interrupts{})
	if err := dev.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := dev.EnableQueue(0, virtio.QueueAddresses{Size: 2}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(c.writes, "001a/2=ffff") || c.config[0x98/4]>>31 != 0 {
		t.Errorf("wrote %v", c.writes)
	}
	dev.Kick()
}

func TestWait(t *testing.T) {
	irq := interrupts()
	dev := mustNew(t, newCard(), irq)
	dev.Kick()
	if dev.Wait() {
		t.Error("a kick changed the configuration")
	}
	irq.Queues.Raise()
	if dev.Wait() {
		t.Error("a queue interrupt changed the configuration")
	}
	irq.Config.Raise()
	if !dev.Wait() {
		t.Error("a configuration interrupt is lost")
	}
	dev.Kick()
	if dev.Wait() {
		t.Error("reported twice")
	}
}

// TestLine has the card interrupt by its line, which a read of its reason takes back.
func TestLine(t *testing.T) {
	c := newCard()
	c.config[0x98/4] |= 1 << 31 // as firmware may leave it
	irq := fakehw.NewInterrupt()
	dev := mustNew(t, c, Interrupts{Line: irq})
	if command := uint16(c.config[1]); command != bus.CommandMemory|bus.CommandBusMaster {
		t.Errorf("command %#x", command)
	}
	if c.config[0x98/4]>>31 != 0 {
		t.Error("MSI-X is on")
	}
	if err := dev.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := dev.EnableQueue(0, virtio.QueueAddresses{Size: 2}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(c.writes, "001a/2=ffff") || slices.Contains(c.writes, "0010/2=1") {
		t.Errorf("wrote %v", c.writes)
	}
	for _, reason := range []byte{1, 2, 3, 0} {
		c.bar[offISR] = reason
		irq.Raise()
		if changed := dev.Wait(); changed != (reason&2 != 0) || c.bar[offISR] != 0 {
			t.Errorf("reason %d: changed %t, %d left", reason, changed, c.bar[offISR])
		}
	}
	dev.Kick()
	if dev.Wait() {
		t.Error("a kick changed the configuration")
	}
	// What comes while nobody waits is taken back too, and not forgotten.
	for _, reason := range []byte{1, 2, 3, 0} {
		c.bar[offISR] = reason
		dev.Acknowledge()
		if changed := reason&2 != 0; c.bar[offISR] != 0 || irq.Raised() != changed {
			t.Errorf("reason %d: %d left, Wait would return %t", reason, c.bar[offISR], irq.Raised())
		}
		dev.Kick()
		if changed := dev.Wait(); changed != (reason&2 != 0) {
			t.Errorf("reason %d: changed %t after it was taken back", reason, changed)
		}
	}

	for name, spoil := range map[string]func(*card){
		"none":     func(c *card) { c.capability(0x60, 0x50, 9, 16, 0, 0) },
		"over BAR": func(c *card) { c.capability(0x60, 0x50, capISR, 16, barBytes, 4) },
		"empty":    func(c *card) { c.capability(0x60, 0x50, capISR, 16, offISR, 0) },
	} {
		c := newCard()
		spoil(c)
		if _, err := New(c.function(t), c.mapper, Interrupts{Line: irq}); err == nil || !strings.Contains(err.Error(), "interrupt") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnalignedISR: the byte that says why the card interrupts may lie anywhere, and doorbells of
// two bytes at any even place.
func TestUnalignedISR(t *testing.T) {
	c := newCard()
	c.isr = offISR + 3
	c.capability(0x60, 0x50, capISR, 16, offISR+3, 1)
	c.capability(0x84, 0x70, capNotify, 20, offNotify+2, 0x1000)
	irq := fakehw.NewInterrupt()
	dev := mustNew(t, c, Interrupts{Line: irq})
	c.bar[c.isr] = isrConfig
	irq.Raise()
	if !dev.Wait() || c.bar[c.isr] != 0 {
		t.Errorf("the reason is not read: %d is left", c.bar[c.isr])
	}
	if err := dev.EnableQueue(0, virtio.QueueAddresses{Size: 2}); err != nil {
		t.Fatal(err)
	}
	if dev.Notify(0); !slices.Contains(c.writes, "3002/2=0") {
		t.Errorf("wrote %v", c.writes)
	}
}

// TestSilence: a device that is given up neither reaches memory nor asserts its line, and who
// waits for it is still woken.
func TestSilence(t *testing.T) {
	for name, irq := range map[string]Interrupts{"messages": interrupts(), "line": {Line: fakehw.NewInterrupt()}} {
		c := newCard()
		dev := mustNew(t, c, irq)
		dev.Silence()
		if command := uint16(c.config[1]); command != bus.CommandMemory|bus.CommandINTxDisable {
			t.Errorf("%s: command %#x", name, command)
		}
		dev.Kick()
		if dev.Wait() {
			t.Errorf("%s: a kick changed the configuration", name)
		}
	}
}

// FuzzCapabilities lets configuration space claim anything about where the
// registers are.
func FuzzCapabilities(f *testing.F) {
	f.Add([]byte{0x50, 9, 0x40, 16, 1, 4, 0, 0, 0})
	f.Add([]byte{0x88, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCard()
		for i := 0; i+1 < len(b); i += 2 {
			if off := int(b[i]); off < 0x04 || off >= 0x28 {
				shift := 8 * (off % 4)
				c.config[off/4] = c.config[off/4]&^(0xff<<shift) | uint32(b[i+1])<<shift
			}
		}
		found, err := bus.Enumerate(c)
		if err != nil || len(found) != 1 {
			return
		}
		dev, err := New(found[0], c.mapper, Interrupts{Line: fakehw.NewInterrupt()})
		if err != nil {
			return
		}
		dev.Kick()
		dev.Wait()
		for q := range queuesMax {
			if dev.EnableQueue(q, virtio.QueueAddresses{Size: 2}) == nil {
				dev.Notify(q)
			}
		}
	})
}
