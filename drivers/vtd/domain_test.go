package vtd

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
)

var errNothing = errors.New("nothing there")

// nextPhys is where segments lie; they have no memory of their own here.
const nextPhys = 0x45_0000_0000

// mapping is a segment that was mapped for a device.
type mapping struct {
	u      *unit
	domain *Domain
	s      hw.Segment
	addr   uint64
	way    hw.Direction
}

func segment(pages int, phys uint64) hw.Segment {
	return hw.Segment{Bytes: make([]byte, pages*hw.PageSize), Phys: phys}
}

func mustMap(t testing.TB, u *unit, d *Unit, s Source, pages int, way hw.Direction) mapping {
	t.Helper()
	domain, err := d.Domain(s)
	if err != nil {
		t.Fatal(err)
	}
	m := mapping{u, domain, segment(pages, nextPhys+uint64(s)<<20), 0, way}
	if m.addr, err = domain.Map(m.s, way); err != nil {
		t.Fatal(err)
	}
	return m
}

// check reads and writes the first and the last byte of each page, and the pages
// before and behind the segment.
func (m mapping) check(t testing.TB) {
	t.Helper()
	for off := uint64(0); off < uint64(len(m.s.Bytes)); off += hw.PageSize {
		for _, at := range []uint64{off, off + hw.PageSize - 1} {
			for _, write := range []bool{false, true} {
				need, denied := hw.ToDevice, uint8(6)
				if write {
					need, denied = hw.FromDevice, 5
				}
				phys, code := m.u.access(m.domain.source, m.addr+at, write)
				if m.way&need != 0 && (code != 0 || phys != m.s.Phys+at) || m.way&need == 0 && code != denied {
					t.Fatalf("%v at %#x, write %t: reaches %#x, code %d; mapped %v", m.domain.source, m.addr+at, write, phys, code, m.way)
				}
			}
		}
	}
	for _, at := range []uint64{m.addr - 1, m.addr + uint64(len(m.s.Bytes))} {
		if phys, code := m.u.access(m.domain.source, at, true); code != 5 {
			t.Fatalf("%v beside its segment, at %#x: reaches %#x, code %d", m.domain.source, at, phys, code)
		}
	}
}

func (m mapping) unmap(t testing.TB) {
	t.Helper()
	if err := m.domain.Unmap(m.addr, m.s); err != nil {
		t.Fatal(err)
	}
	for off := uint64(0); off < uint64(len(m.s.Bytes)); off += hw.PageSize {
		for _, write := range []bool{false, true} {
			if phys, code := m.u.access(m.domain.source, m.addr+off, write); code == 0 {
				t.Fatalf("%v reaches %#x at %#x, which was taken away", m.domain.source, phys, m.addr+off)
			}
		}
	}
}

// variants are units that differ in what the driver has to do for them.
var variants = map[string]func(*unit){
	"QEMU":         func(*unit) {},
	"coherent":     func(u *unit) { u.ecap |= ecapC; u.coherent = true },
	"caching mode": func(u *unit) { u.cap |= capCM },
	"4 levels":     func(u *unit) { u.cap = u.cap&^(0x1f<<8)&^(0x3f<<16) | 4<<8 | 47<<16 },
	"5 levels":     func(u *unit) { u.cap = u.cap&^(0x1f<<8)&^(0x3f<<16) | 8<<8 | 56<<16 },
	"snoop":        func(u *unit) { u.ecap |= ecapSC },
	"no drain":     func(u *unit) { u.cap &^= capDWD | capDRD },
	"8 records":    func(u *unit) { u.cap |= 7 << capNFRShift },
}

// TestMap: a device reaches what was mapped for it, in the direction that it was
// mapped for, and no other device does.
func TestMap(t *testing.T) {
	for name, set := range variants {
		t.Run(name, func(t *testing.T) {
			u := newUnit(t)
			set(u)
			d := u.open(t)
			for _, way := range []hw.Direction{hw.ToDevice, hw.FromDevice, hw.Both} {
				// What was tried before may be remembered as absent.
				u.access(card, busFirst, true)
				m := mustMap(t, u, d, card, 3, way)
				m.check(t)
				if phys, code := u.access(other, m.addr, false); code == 0 {
					t.Errorf("another device reaches %#x", phys)
				}
				theirs := mustMap(t, u, d, other, 1, hw.Both)
				theirs.check(t)
				m.check(t)
				m.unmap(t)
				theirs.check(t)
				theirs.unmap(t)
			}
		})
	}
}

// TestForgets: what is taken away is gone, although the unit had it in its caches.
// The control is a unit that answers invalidations and does not carry them out.
func TestForgets(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		u := newUnit(t)
		d := u.open(t)
		m := mustMap(t, u, d, card, 1, hw.FromDevice)
		m.check(t)
		u.deaf = deaf
		if err := m.domain.Unmap(m.addr, m.s); err != nil {
			t.Fatal(err)
		}
		if _, code := u.access(card, m.addr, true); (code == 0) != deaf {
			t.Errorf("after the segment was taken away from a unit that is deaf %t: code %d", deaf, code)
		}
	}
}

// TestWrittenBack: a unit that does not look into caches sees every entry. The
// control is a processor that writes nothing back.
func TestWrittenBack(t *testing.T) {
	u := newUnit(t)
	d := u.open(t)
	domain, _ := d.Domain(card)
	d.cfg.Flush = func([]byte) {}
	if _, err := domain.Map(segment(1, nextPhys), hw.Both); err == nil {
		t.Error("the unit has seen a descriptor that was not written back")
	}
	u = newUnit(t)
	u.coherent, u.ecap = true, ecapQEMU|ecapC
	d = u.open(t, func(c *Config) { c.Flush = nil })
	mustMap(t, u, d, card, 1, hw.Both).check(t)
}

// TestAddresses: from 4 GiB on, the lowest first, with a hole behind each segment.
func TestAddresses(t *testing.T) {
	u := newUnit(t)
	d := u.open(t)
	domain, _ := d.Domain(card)
	at := func(pages int, want uint64) hw.Segment {
		t.Helper()
		s := segment(pages, nextPhys+uint64(pages)<<30)
		if addr, err := domain.Map(s, hw.Both); err != nil || addr != busFirst+want*hw.PageSize {
			t.Fatalf("%d pages at %#x, %v; want %#x", pages, addr, err, busFirst+want*hw.PageSize)
		}
		return s
	}
	at(1, 0)
	two := at(2, 2)
	at(5, 5)
	if err := domain.Unmap(busFirst+2*hw.PageSize, two); err != nil {
		t.Fatal(err)
	}
	at(3, 11) // does not fit between
	at(2, 2)
	at(1, 15)
	// Over the end of a table.
	at(1024, 17)
}

func TestMapRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		s    hw.Segment
		way  hw.Direction
		want string
	}{
		{"nothing", hw.Segment{Phys: nextPhys}, hw.Both, "want whole pages"},
		{"half a page", hw.Segment{Bytes: make([]byte, 2048), Phys: nextPhys}, hw.Both, "want whole pages"},
		{"off its page", segment(1, nextPhys+8), hw.Both, "want whole pages"},
		{"beyond all memory", segment(2, 1<<52-hw.PageSize), hw.Both, "want whole pages"},
		{"no direction", segment(1, nextPhys), 0, "direction 0"},
		{"an unknown direction", segment(1, nextPhys), 4, "direction 4"},
	} {
		u := newUnit(t)
		domain, _ := u.open(t).Domain(card)
		if addr, err := domain.Map(c.s, c.way); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: at %#x, %v", c.name, addr, err)
		}
		if len(domain.tables) != 0 || domain.attached {
			t.Errorf("%s: left %d tables, attached %t", c.name, len(domain.tables), domain.attached)
		}
	}
}

func TestUnmapRefusals(t *testing.T) {
	u := newUnit(t)
	m := mustMap(t, u, u.open(t), card, 2, hw.Both)
	for name, c := range map[string]struct {
		addr uint64
		s    hw.Segment
	}{
		"not mapped":       {m.addr + 8*hw.PageSize, m.s},
		"in the middle":    {m.addr + hw.PageSize, m.s},
		"another segment":  {m.addr, segment(2, m.s.Phys+hw.PageSize)},
		"a part of it":     {m.addr, segment(1, m.s.Phys)},
		"below the first":  {0, m.s},
		"an address of -1": {^uint64(0), m.s},
	} {
		if err := m.domain.Unmap(c.addr, c.s); err == nil || !strings.Contains(err.Error(), "not mapped at") {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.check(t)
}

// TestMapWithoutMemory lets a domain have n pages of tables, for each n: nothing of
// the segment is reachable, and with more memory it works.
func TestMapWithoutMemory(t *testing.T) {
	const (
		pages = 513 // of two tables
		need  = 4   // a directory, two tables, the context table
	)
	for n := range need + 1 {
		u := newUnit(t)
		d := u.open(t)
		domain, err := d.Domain(card)
		if err != nil {
			t.Fatal(err)
		}
		u.memory.left = n
		s := segment(pages, nextPhys)
		addr, err := domain.Map(s, hw.Both)
		if (err == nil) != (n == need) {
			t.Errorf("with %d pages: %v", n, err)
		}
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "iommu, pci 00:02.0: memory for its tables") || addr != 0 {
			t.Errorf("%d pages: %v", n, err)
		}
		u.memory.left = need
		for off := uint64(0); off < pages; off++ {
			if phys, code := u.access(card, busFirst+off*hw.PageSize, true); code == 0 {
				t.Fatalf("%d pages: the device reaches %#x", n, phys)
			}
		}
		mustMap(t, u, d, card, 1, hw.Both).check(t)
	}
}

// TestFull: there is an end to addresses and to domains.
func TestFull(t *testing.T) {
	u := newUnit(t)
	u.cap = u.cap&^7&^(0x3f<<16) | 35<<16 // 16 domains, 36 bits
	d := u.open(t)
	domain, _ := d.Domain(card)
	// As if a segment took all but three pages.
	domain.mapped = []mapped{{addr: busFirst, size: 1<<36 - busFirst - 3*hw.PageSize}}
	if addr, err := domain.Map(segment(2, nextPhys), hw.Both); err == nil || !strings.Contains(err.Error(), "no room for 8192 bytes among addresses of 36 bits") {
		t.Errorf("at %#x, %v", addr, err)
	}
	if addr, err := domain.Map(segment(1, nextPhys), hw.Both); err != nil || addr != 1<<36-2*hw.PageSize {
		t.Errorf("at %#x, %v", addr, err)
	}
	for i := range uint8(14) {
		if _, err := d.Domain(SourceOf(1, i, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if same, err := d.Domain(card); same != domain || err != nil {
		t.Errorf("the card has another domain, %v", err)
	}
	if _, err := d.Domain(other); err == nil || !strings.Contains(err.Error(), "pci 03:1f.7: the iommu at 0xfed90000 tells no more than 15 devices apart") {
		t.Errorf("a device too many: %v", err)
	}
}

// TestBroken: a unit that stops answering takes nothing away any more, and says so
// each time.
func TestBroken(t *testing.T) {
	u := newUnit(t)
	log, capture := logged()
	d := u.open(t, capture)
	m := mustMap(t, u, d, card, 1, hw.Both)
	u.mute = true
	mem := hw.NewDMA(segments{}, m.domain)
	for range 2 {
		if err := m.domain.Unmap(m.addr, m.s); !errors.Is(err, errInvalidation) {
			t.Errorf("unmap: %v", err)
		}
		if _, err := m.domain.Map(segment(1, nextPhys), hw.Both); !errors.Is(err, errInvalidation) {
			t.Errorf("map: %v", err)
		}
	}
	if _, err := mem.Alloc(1, hw.Both); err == nil {
		t.Error("a driver was given memory")
	}
	if n := strings.Count(log.String(), "broken"); n != 1 {
		t.Errorf("%d lines say that the unit is broken:\n%s", n, log)
	}
}

// segments hands out the same memory all the time.
type segments struct{}

func (segments) Alloc(int) (hw.Segment, error) { return segment(1, nextPhys), nil }
func (segments) Free(hw.Segment)               {}

// FuzzDomain maps and unmaps at random and compares what the device reaches with a
// list of what it was given.
func FuzzDomain(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0x80, 4, 0x81, 0x80, 9})
	f.Add([]byte{0x7f, 0x7f, 0x80, 0x7e, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 200 {
			return
		}
		u := newUnit(t)
		d := u.open(t)
		domain, _ := d.Domain(card)
		live := map[uint64]mapping{}
		var order []uint64
		most, phys := 0, uint64(nextPhys)
		pages := 0
		for _, op := range ops {
			if op < 0x80 {
				way := hw.Direction(1 + op%3)
				s := segment(1+int(op), phys)
				phys += uint64(len(s.Bytes)) // next to each other in memory
				addr, err := domain.Map(s, way)
				if err != nil {
					t.Fatal(err)
				}
				live[addr] = mapping{u, domain, s, addr, way}
				order = append(order, addr)
				pages += len(s.Bytes)/hw.PageSize + 1
				most = max(most, pages)
			} else if len(order) > 0 {
				i := int(op&0x7f) % len(order)
				m := live[order[i]]
				delete(live, order[i])
				order = append(order[:i], order[i+1:]...)
				pages -= len(m.s.Bytes)/hw.PageSize + 1
				m.unmap(t)
			}
		}
		for _, m := range live {
			m.check(t) // with what lies beside it
		}
		// First fit wastes at most about as much as was ever mapped.
		if tables := len(domain.tables); tables > 2+2*most/entriesPerTable+1 {
			t.Errorf("%d tables for %d pages at most", tables, most)
		}
	})
}
