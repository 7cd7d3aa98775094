package vtd

// The hardware's side, written from the specification and not from the driver: a
// unit's registers, its queue, its caches and its walk through the tables.

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

const unitBase = 0xfed90000

// memory is physical memory that a device may see later than the processor: Flush
// is what makes the two equal.
type memory struct {
	t     testing.TB
	pages map[uint64]hw.Segment
	seen  map[uint64][]byte // what the unit sees of each page
	next  uint64
	left  int // pages that may still be taken
}

func newMemory(t testing.TB) *memory {
	return &memory{t: t, pages: map[uint64]hw.Segment{}, seen: map[uint64][]byte{}, next: 0x12_3456_7000, left: 1 << 20}
}

func (m *memory) Alloc(size int) (hw.Segment, error) {
	if m.left == 0 {
		return hw.Segment{}, fmt.Errorf("no page is left")
	}
	m.left--
	b := make([]byte, 2*hw.PageSize)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % hw.PageSize)
	s := hw.Segment{Bytes: b[skip : skip+hw.PageSize], Phys: m.next}
	m.next += 3 * hw.PageSize
	m.pages[s.Phys] = s
	// A page comes zeroed, but what the unit would read of it is what was there.
	m.seen[s.Phys] = make([]byte, hw.PageSize)
	for i := range m.seen[s.Phys] {
		m.seen[s.Phys][i] = 0xff
	}
	return s, nil
}

func (m *memory) Free(s hw.Segment) { delete(m.pages, s.Phys) }

// flush writes a part of a page back.
func (m *memory) flush(b []byte) {
	for phys, s := range m.pages {
		start := uintptr(unsafe.Pointer(&s.Bytes[0]))
		if at := uintptr(unsafe.Pointer(&b[0])); at >= start && at+uintptr(len(b)) <= start+hw.PageSize {
			copy(m.seen[phys][at-start:], b)
			return
		}
	}
	m.t.Fatal("flush of what is no page of the tables")
}

// unit is the hardware.
type unit struct {
	mu       sync.Mutex // in accesses of registers and of devices
	memory   *memory
	coherent bool
	regs     map[uint64]uint32
	cap      uint64
	ecap     uint64
	version  uint32
	irq      irq

	root    uint64 // taken by SRTP
	head    uint64
	walks   map[[2]uint64]walk // IOTLB, by source and page
	context map[Source][2]uint64

	// Misbehaviour.
	dead   uint32 // bits of GSTS that never change
	mute   bool   // descriptors are not carried out
	refuse bool   // nor accepted
	stuck  bool   // protected ranges do not turn off
	deaf   bool   // invalidations are answered and not carried out

	invalidations int
	mapped        []uint64 // sizes that were asked for
}

type walk struct {
	domain uint64
	phys   uint64
	rights uint64
}

// capQEMU and ecapQEMU are what QEMU's unit says.
const (
	capQEMU  = 0xd2008c22260206
	ecapQEMU = 0xf00f4a
)

func newUnit(t testing.TB) *unit {
	u := &unit{
		memory: newMemory(t), regs: map[uint64]uint32{regPMEN: pmenEPM | pmenPRS},
		cap: capQEMU | capPLMR, ecap: ecapQEMU, version: 0x10, irq: make(irq, 1),
	}
	u.forget()
	return u
}

func (u *unit) forget() {
	u.walks, u.context = map[[2]uint64]walk{}, map[Source][2]uint64{}
}

// open turns the unit on through the driver.
func (u *unit) open(t testing.TB, change ...func(*Config)) *Unit {
	t.Helper()
	d, err := u.try(change...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (u *unit) try(change ...func(*Config)) (*Unit, error) {
	cfg := Config{
		Map: func(phys, size uint64) (hw.Registers, error) {
			if phys != unitBase {
				return nil, fmt.Errorf("no registers at %#x", phys)
			}
			u.mapped = append(u.mapped, size)
			return window{u, size}, nil
		},
		Tables: u.memory, Flush: u.memory.flush, Interrupt: u.irq,
		Pause: func() {}, Now: func() time.Time { return time.Unix(0, 0) },
	}
	for _, f := range change {
		f(&cfg)
	}
	return Open(unitBase, cfg)
}

// irq is an interrupt that remembers one Raise.
type irq chan struct{}

func (i irq) Wait() { <-i }
func (i irq) Raise() {
	select {
	case i <- struct{}{}:
	default:
	}
}
func (i irq) MSI() (uint64, uint32, bool) { return 0xfee01000, 0x4a, true }

// window is the registers.
type window struct {
	u    *unit
	size uint64
}

func (w window) Size() uint64         { return w.size }
func (window) Read8(uint64) uint8     { panic("8-bit access") }
func (window) Read16(uint64) uint16   { panic("16-bit access") }
func (window) Write8(uint64, uint8)   { panic("8-bit access") }
func (window) Write16(uint64, uint16) { panic("16-bit access") }
func (w window) check(off uint64) {
	if off%4 != 0 || off+4 > w.size {
		panic(fmt.Sprintf("access at %#x of %#x", off, w.size))
	}
}

func (w window) Read32(off uint64) uint32 {
	w.check(off)
	u := w.u
	u.mu.Lock()
	defer u.mu.Unlock()
	switch off {
	case regVER:
		return u.version
	case regCAP:
		return uint32(u.cap)
	case regCAP + 4:
		return uint32(u.cap >> 32)
	case regECAP:
		return uint32(u.ecap)
	case regECAP + 4:
		return uint32(u.ecap >> 32)
	case regIQH:
		return uint32(u.head)
	}
	return u.regs[off]
}

func (w window) Write32(off uint64, v uint32) {
	w.check(off)
	u := w.u
	u.mu.Lock()
	defer u.mu.Unlock()
	switch off {
	case regGCMD:
		u.globalCommand(v)
		return
	case regFSTS:
		u.regs[off] &^= v & (fstsPFO | fstsQueueErrors)
		return
	case regPMEN:
		u.regs[off] = v & pmenEPM
		if v&pmenEPM != 0 || u.stuck {
			u.regs[off] |= pmenPRS
		}
		return
	case regFECTL:
		was := u.regs[off]
		u.regs[off] = v&fectlIM | was&(1<<30)
		if v&fectlIM == 0 && was&(1<<30) != 0 {
			u.regs[off] = 0
			u.irq.Raise()
		}
		return
	case regCAP, regECAP, regVER, regGSTS, regIQH:
		panic(fmt.Sprintf("write of the read-only register %#x", off))
	}
	if first := (u.cap >> capFROShift & capFROMask) * 16; off >= first && off < first+u.records()*16 {
		if off%16 != 12 {
			panic("write of a fault record's read-only part")
		}
		if v&faultValid != 0 {
			u.regs[off] &^= faultValid
			u.updatePending()
		}
		return
	}
	u.regs[off] = v
	if off == regIQT && u.regs[regGSTS]&globalQIE != 0 {
		u.runQueue()
	}
}

func (u *unit) records() uint64 { return u.cap>>capNFRShift&capNFRMask + 1 }

func (u *unit) globalCommand(v uint32) {
	status := u.regs[regGSTS]
	const switches = globalTE | globalQIE | globalIRE | globalEAFL
	changed := (v ^ status) & switches
	if v&globalSRTP != 0 {
		changed |= globalSRTP
	}
	if n := popcount(changed); n > 1 {
		panic(fmt.Sprintf("command %#x does %d things at once", v, n))
	}
	if v&globalSRTP != 0 {
		if status&globalTE != 0 {
			panic("a new root table while translation is on")
		}
		u.root = u.quad(regRTADDR)
		status |= globalSRTP
	}
	if changed&globalQIE != 0 && v&globalQIE != 0 && u.quad(regIQT) != 0 {
		panic("the queue is turned on with a tail")
	}
	if changed&globalQIE != 0 {
		u.head = 0
	}
	status = status&^switches | v&switches
	u.regs[regGSTS] = status&^u.dead | u.regs[regGSTS]&u.dead
}

func popcount(v uint32) (n int) {
	for ; v != 0; v &= v - 1 {
		n++
	}
	return n
}

func (u *unit) quad(off uint64) uint64 { return uint64(u.regs[off]) | uint64(u.regs[off+4])<<32 }

// word reads memory as the unit sees it.
func (u *unit) word(phys uint64) uint64 {
	page := phys &^ (hw.PageSize - 1)
	s, ok := u.memory.pages[page]
	if !ok {
		panic(fmt.Sprintf("the unit reads %#x, which is no page of its tables", phys))
	}
	b := s.Bytes
	if !u.coherent {
		b = u.memory.seen[page]
	}
	return binary.LittleEndian.Uint64(b[phys-page:])
}

func (u *unit) runQueue() {
	for tail := u.quad(regIQT); u.head != tail && !u.mute; u.head = (u.head + 16) % hw.PageSize {
		low, high := u.word(u.quad(regIQA)&addrMask+u.head), u.word(u.quad(regIQA)&addrMask+u.head+8)
		if u.refuse {
			u.regs[regFSTS] |= fstsIQE
			return
		}
		domain := low >> 16 & 0xffff
		switch granularity := low >> 4 & 3; low & 0xf {
		case invalidateContext:
			u.invalidations++
			for s, c := range u.context {
				if !u.deaf && (granularity == 1 || granularity == 2 && c[1]>>8&0xffff == domain || granularity == 3 && uint64(s) == low>>32&0xffff) {
					delete(u.context, s)
				}
			}
		case invalidateIOTLB:
			u.invalidations++
			if low>>6&3 != u.cap>>54&3 {
				panic("drains what it cannot, or not what it can")
			}
			for key, w := range u.walks {
				if !u.deaf && (granularity == 1 || granularity == 2 && w.domain == domain) {
					delete(u.walks, key)
				}
			}
		case invalidateWait:
			if low&(1<<5) == 0 || high&3 != 0 {
				panic("a wait that nobody hears of")
			}
			page := high &^ (hw.PageSize - 1)
			binary.LittleEndian.PutUint32(u.memory.pages[page].Bytes[high-page:], uint32(low>>32))
		default:
			u.regs[regFSTS] |= fstsIQE
			return
		}
	}
}

// access is a device's. It returns the physical address, or the fault code, which
// is recorded.
func (u *unit) access(s Source, addr uint64, write bool) (phys uint64, code uint8) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.regs[regGSTS]&globalTE == 0 {
		return addr, 0
	}
	need := uint64(pageRead)
	code = 6
	if write {
		need, code = pageWrite, 5
	}
	key := [2]uint64{uint64(s), addr >> 12}
	w, ok := u.walks[key]
	if !ok {
		var why uint8
		if w, why = u.walk(s, addr); why != 0 {
			return 0, u.record(s, addr, write, why)
		}
		if w.rights != 0 || u.cap&capCM != 0 {
			u.walks[key] = w
		}
	}
	if w.rights&need == 0 {
		return 0, u.record(s, addr, write, code)
	}
	return w.phys | addr&0xfff, 0
}

func (u *unit) walk(s Source, addr uint64) (w walk, code uint8) {
	context, ok := u.context[s]
	if !ok {
		root := u.word(u.root + 16*uint64(s>>8))
		if root&1 == 0 {
			return w, 1
		}
		if root&0xffe != 0 || u.word(u.root+16*uint64(s>>8)+8) != 0 {
			return w, 0xa
		}
		at := root&addrMask + 16*uint64(s&0xff)
		context = [2]uint64{u.word(at), u.word(at + 8)}
		if context[0]&1 != 0 || u.cap&capCM != 0 {
			u.context[s] = context
		}
	}
	if context[0]&1 == 0 {
		return w, 2
	}
	levels := context[1]&7 + 2
	if u.cap>>capSAGAWShift&(1<<(levels-2)) == 0 || context[0]>>2&3 != 0 {
		return w, 3
	}
	if context[0]&0xff2 != 0 || context[1]&^0xffff07 != 0 {
		return w, 0xb
	}
	if width := min(u.cap>>capMGAWShift&capMGAWMask+1, 12+9*levels); addr>>width != 0 {
		return w, 4
	}
	w = walk{domain: context[1] >> 8 & 0xffff, rights: pageRead | pageWrite}
	at := context[0] & addrMask
	for level := int(levels) - 1; level >= 0; level-- {
		entry := u.word(at + 8*(addr>>(12+9*level)&511))
		w.rights &= entry
		if w.rights == 0 {
			return w, 0
		}
		known := uint64(addrMask | pageRead | pageWrite)
		if level == 0 && u.ecap&ecapSC != 0 {
			known |= pageSnoop
		}
		if entry&^known != 0 {
			return w, 0xc
		}
		at = entry & addrMask
	}
	w.phys = at
	return w, 0
}

// record is what the unit does with a fault (7.2, 7.3).
func (u *unit) record(s Source, addr uint64, write bool, code uint8) uint8 {
	if u.regs[regFSTS]&fstsPFO != 0 {
		return code
	}
	first := (u.cap >> capFROShift & capFROMask) * 16
	for i := range u.records() {
		off := first + 16*i
		if u.regs[off+12]&faultValid != 0 {
			continue
		}
		u.regs[off], u.regs[off+4] = uint32(addr)&^0xfff, uint32(addr>>32)
		u.regs[off+8] = uint32(s)
		u.regs[off+12] = faultValid | uint32(code)
		if !write {
			u.regs[off+12] |= faultRead
		}
		if u.regs[regFSTS]&fstsPPF == 0 {
			u.regs[regFSTS] = u.regs[regFSTS]&0xff | uint32(i)<<8
			u.event()
		}
		u.updatePending()
		return code
	}
	u.regs[regFSTS] |= fstsPFO
	return code
}

func (u *unit) event() {
	if u.regs[regFECTL]&fectlIM != 0 {
		u.regs[regFECTL] |= 1 << 30 // pending
		return
	}
	if u.regs[regFEADDR] != 0xfee01000 || u.regs[regFEDATA] != 0x4a || u.regs[regFEUADDR] != 0 {
		panic("the interrupt has no address")
	}
	u.irq.Raise()
}

func (u *unit) updatePending() {
	u.regs[regFSTS] &^= fstsPPF
	first := (u.cap >> capFROShift & capFROMask) * 16
	for i := range u.records() {
		if u.regs[first+16*i+12]&faultValid != 0 {
			u.regs[regFSTS] |= fstsPPF
		}
	}
	if u.regs[regFSTS]&(fstsPPF|fstsQueueErrors) == 0 {
		u.regs[regFECTL] &^= 1 << 30 // serviced (10.4.10)
	}
}
