package vtd

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
)

var (
	card  = SourceOf(0, 2, 0)
	other = SourceOf(3, 31, 7)
)

func TestSource(t *testing.T) {
	if card != 0x10 || other != 0x3ff || card.String() != "pci 00:02.0" || other.String() != "pci 03:1f.7" {
		t.Errorf("%#x %v, %#x %v", uint16(card), card, uint16(other), other)
	}
}

// TestCapability reads what QEMU's unit says, and variations of it.
func TestCapability(t *testing.T) {
	qemu := Capability{
		Levels: 3, Bits: 39, Domains: 65536, Records: 1,
		faultOffset: 0x220, drain: drainWrites | drainReads,
	}
	with := func(f func(*Capability)) Capability {
		c := qemu
		f(&c)
		return c
	}
	for _, c := range []struct {
		name      string
		cap, ecap uint64
		want      Capability
		err       string
	}{
		{"QEMU", capQEMU, ecapQEMU, qemu, ""},
		{"caching mode", capQEMU | capCM, ecapQEMU, with(func(c *Capability) { c.caching = true }), ""},
		{"coherent, with snoop control", capQEMU, ecapQEMU | ecapC | ecapSC, with(func(c *Capability) { c.Coherent, c.snoop = true, true }), ""},
		{"protected ranges", capQEMU | capPHMR, ecapQEMU, with(func(c *Capability) { c.protected = true }), ""},
		{"no drain", capQEMU &^ (capDWD | capDRD), ecapQEMU, with(func(c *Capability) { c.drain = 0 }), ""},
		{"4 levels too", capQEMU | 4<<capSAGAWShift, ecapQEMU, qemu, ""},
		{"4 levels only", capQEMU&^(0x1f<<8)&^(0x3f<<16) | 4<<8 | 47<<16, ecapQEMU, with(func(c *Capability) { c.Levels, c.Bits = 4, 48 }), ""},
		{"5 levels, narrow addresses", capQEMU&^(0x1f<<8)&^(0x3f<<16) | 8<<8 | 45<<16, ecapQEMU, with(func(c *Capability) { c.Levels, c.Bits = 5, 46 }), ""},
		{"addresses wider than tables", capQEMU | 0x3f<<16, ecapQEMU, qemu, ""},
		{"256 records far away", capQEMU&^(0x3ff<<24) | 0x3ff<<24 | 0xff<<40, ecapQEMU, with(func(c *Capability) { c.Records, c.faultOffset = 256, 0x3ff0 }), ""},
		{"16 domains", capQEMU &^ 7, ecapQEMU, with(func(c *Capability) { c.Domains = 16 }), ""},

		{"absent", ^uint64(0), ^uint64(0), Capability{}, "nothing answers"},
		{"all zeros", 0, 0, Capability{}, "no queued invalidation"},
		{"no queue", capQEMU, ecapQEMU &^ ecapQI, Capability{}, "no queued invalidation"},
		{"a write buffer", capQEMU | capRWBF, ecapQEMU, Capability{}, "write buffer"},
		{"reserved domains", capQEMU | 7, ecapQEMU, Capability{}, "reserved number of domains"},
		{"records over the commands", capQEMU &^ (0x3ff << 24), ecapQEMU, Capability{}, "fault records at 0x0"},
		{"records at the last of them", capQEMU&^(0x3ff<<24) | 0xe<<24, ecapQEMU, Capability{}, "fault records at 0xe0"},
		{"no tables", capQEMU &^ (0x1f << 8), ecapQEMU, Capability{}, "neither 3, 4 nor 5"},
		{"2 and 6 levels", capQEMU&^(0x1f<<8) | 0x11<<8, ecapQEMU, Capability{}, "neither 3, 4 nor 5"},
		{"32 bits", capQEMU&^(0x3f<<16) | 31<<16, ecapQEMU, Capability{}, "addresses of 32 bits"},
	} {
		version := uint32(0x10)
		if c.name == "absent" {
			version = ^uint32(0)
		}
		got, err := parseCapability(version, c.cap, c.ecap)
		if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v, %s", c.name, got, err, c.want, c.err)
		}
	}
}

// TestOpenBlocksEverything: once the unit is on, a device without a domain reaches
// nothing, nor does one whose domain is empty.
func TestOpenBlocksEverything(t *testing.T) {
	u := newUnit(t)
	if _, code := u.access(card, 0x1000, true); code != 0 {
		t.Fatalf("the control: before the unit is on, code %d", code)
	}
	d := u.open(t)
	if u.regs[regPMEN] != 0 {
		t.Error("the protected ranges are still on")
	}
	if _, err := d.Domain(other); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Source{card, other} {
		for _, addr := range []uint64{0, 0x1000, busFirst, 1 << 38} {
			if phys, code := u.access(s, addr, true); code != 1 {
				t.Errorf("%v at %#x: reaches %#x, code %d", s, addr, phys, code)
			}
		}
	}
}

// TestFirmware starts from what firmware may have left: everything on, faults
// recorded, a tail in the queue.
func TestFirmware(t *testing.T) {
	u := newUnit(t)
	u.regs[regGSTS] = globalTE | globalIRE | globalEAFL | globalQIE
	u.regs[regIQT], u.head = 0x40, 0x40
	u.regs[0x220+12] = faultValid | 5
	u.regs[regFSTS] = fstsPPF | fstsPFO | fstsIQE
	d := u.open(t)
	if u.regs[regGSTS]&^globalSRTP != globalTE|globalQIE || u.regs[regFSTS] != 0 {
		t.Errorf("global status %#x, fault status %#x", u.regs[regGSTS], u.regs[regFSTS])
	}
	d.takeFaults()
	count(t, d, map[string]uint64{})
	mustMap(t, u, d, card, 1, hw.Both).check(t)
}

// TestRegistersBehindAPage: records that lie far away are in the window.
func TestRegistersBehindAPage(t *testing.T) {
	u := newUnit(t)
	u.cap = capQEMU&^(0x3ff<<24) | 0x3ff<<24 | 0xff<<40
	d := u.open(t)
	if want := []uint64{4096, 0x3ff0 + 256*16}; len(u.mapped) != 2 || u.mapped[0] != want[0] || u.mapped[1] != want[1] {
		t.Errorf("mapped %#x, want %#x", u.mapped, want)
	}
	u.access(card, 0, true)
	d.takeFaults()
	count(t, d, map[string]uint64{"iommu_fault_no_root": 1})
}

func TestOpenRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*unit, *Config)
		want string
	}{
		{"no registers", func(_ *unit, c *Config) {
			c.Map = func(uint64, uint64) (hw.Registers, error) { return nil, errNothing }
		}, "nothing"},
		{"a unit that cannot", func(u *unit, _ *Config) { u.ecap = 0 }, "no queued invalidation"},
		{"nothing flushes", func(_ *unit, c *Config) { c.Flush = nil }, "processor's caches"},
		{"a line", func(_ *unit, c *Config) { c.Interrupt = line{} }, "its interrupt is a line"},
		{"translation stays on", func(u *unit, _ *Config) {
			u.regs[regGSTS], u.dead = globalTE, globalTE
		}, "translation does not turn off"},
		{"no queue", func(u *unit, _ *Config) { u.dead = globalQIE }, "queued invalidation does not turn on"},
		{"no root table", func(u *unit, _ *Config) { u.dead = globalSRTP }, "the root table does not turn on"},
		{"no translation", func(u *unit, _ *Config) { u.dead = globalTE }, "translation does not turn on"},
		{"protected ranges stay", func(u *unit, _ *Config) { u.stuck = true }, "it translates, and its protected memory ranges"},
		{"no answer", func(u *unit, _ *Config) { u.mute = true }, "caches are clean"},
		{"a descriptor is refused", func(u *unit, _ *Config) { u.refuse = true }, "caches are clean: fault status 0x10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUnit(t)
			_, err := u.try(func(cfg *Config) { c.set(u, cfg) })
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "iommu at 0xfed90000: ") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestOpenWithoutMemory lets the unit have n pages, for each n.
func TestOpenWithoutMemory(t *testing.T) {
	const need = 3 // root table, queue, answer
	for n := range need + 1 {
		u := newUnit(t)
		u.memory.left = n
		_, err := u.try()
		if (err == nil) != (n == need) {
			t.Errorf("with %d pages: %v", n, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "memory for its tables") || u.regs[regGSTS]&globalTE != 0) {
			t.Errorf("%d pages: %v, global status %#x", n, err, u.regs[regGSTS])
		}
	}
}

type line struct{ irq }

func (line) MSI() (uint64, uint32, bool) { return 0, 0, false }

// logged returns a change of the configuration that logs into a buffer.
func logged() (*bytes.Buffer, func(*Config)) {
	var b bytes.Buffer
	return &b, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}}))
	}
}

// count compares the counters; those that want does not name are 0.
func count(t *testing.T, d *Unit, want map[string]uint64) {
	t.Helper()
	d.Counters(func(name string, v uint64) {
		if v != want[name] {
			t.Errorf("%s is %d, want %d", name, v, want[name])
		}
		delete(want, name)
	})
	for name := range want {
		t.Errorf("there is no counter %s", name)
	}
}

// FuzzOpen opens units whose capabilities, status and dead bits are arbitrary, and
// uses those that open.
func FuzzOpen(f *testing.F) {
	f.Add(uint64(capQEMU), uint64(ecapQEMU), uint32(0), uint32(0))
	f.Add(^uint64(0), ^uint64(0), ^uint32(0), uint32(0))
	f.Add(uint64(capQEMU|capCM), uint64(ecapQEMU|ecapC), uint32(globalTE), uint32(globalTE))
	f.Fuzz(func(t *testing.T, cap, ecap uint64, status, dead uint32) {
		u := newUnit(t)
		u.cap, u.ecap, u.coherent = cap, ecap, ecap&ecapC != 0
		u.regs[regGSTS], u.dead = status, dead
		d, err := u.try()
		if err != nil {
			return
		}
		if u.regs[regGSTS]&globalTE == 0 {
			t.Fatal("it opened and does not translate")
		}
		m := mustMap(t, u, d, card, 3, hw.Both)
		m.check(t)
		m.unmap(t)
	})
}
