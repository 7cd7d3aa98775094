package vm

import (
	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/frames"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/nexus/arena"
)

// This file owns the account of the machine's RAM: each page of it has one owner.

// The classes of owners of frames. What a domain is charged for are those from ownImage on;
// their tags have the space's number above.
const (
	ownTable  frames.Owner = 1 + iota // a page table of the kernel's
	ownHeap                           // behind the Go heap
	ownStack                          // a stack of traps
	ownDevice                         // shared with devices
	ownIOMMU                          // a table of an IOMMU's
	ownShared                         // a page that all domains read
	ownImage                          // a domain's copy of a page of its program or files
	ownMemory                         // a domain's heap or stack
	ownState                          // what the kernel tells a domain, its registers, and what it sees where memory is gone
	ownSpace                          // a page table of a domain's
	ownArena                          // the first region of an arena; the others follow
)

const (
	// ownEnd is behind the last class.
	ownEnd = ownArena + frames.Owner(arena.Regions)

	classBits = 5
	classMask = frames.Classes - 1
)

// A compile error here says that a class does not fit its bits.
var (
	_ [frames.Classes - ownEnd]struct{}
	_ [1<<classBits - frames.Classes]struct{}
	_ [frames.Classes - 1<<classBits]struct{}
)

var ownNames = [ownArena]string{
	frames.Nobody: "nobody", ownTable: "page tables", ownHeap: "go heap", ownStack: "trap stacks", ownDevice: "devices",
	ownIOMMU: "iommu tables", ownShared: "shared pages", ownImage: "domain image", ownMemory: "domain memory", ownState: "domain state", ownSpace: "domain tables",
}

func ownName(o frames.Owner) string {
	if o < ownArena {
		return ownNames[o]
	}
	return "arena " + arena.ID(o-ownArena).String()
}

// boot is what of the RAM is no frame of the pool's, in bytes. Init fills it.
var boot struct{ ram, firmware, image, archive uint64 }

// surveyed notes what the memory map says, for an image up to end.
func surveyed(m *bootinfo.MemoryMap, segs []segment, end uint64) {
	boot.ram = m.Installed()
	boot.firmware = boot.ram
	for i := range m.Len() {
		if r := m.At(i); r.Type == bootinfo.RAM {
			// What lies below the first frame or behind the direct map is used by nobody.
			start, end := min(max(r.Start, frames.First), layout.DirectMapSize), min(r.End, layout.DirectMapSize)
			boot.firmware -= max(start, end) - start
		}
	}
	boot.image = end - layout.Image
	for _, s := range segs {
		if s.archive {
			boot.archive += s.end - s.start
		}
	}
	boot.image -= boot.archive
	boot.firmware += pool.Counts().Lost * layout.PageSize
}

// Line is one line of an account: bytes that have an owner.
type Line struct {
	Owner string
	Bytes uint64
}

// Account says where all of the machine's RAM is.
type Account struct {
	// RAM is that of the machine, in bytes: the sum of the lines, or else something
	// is wrong.
	RAM uint64
	// Lines are the owners. The last two are "free" and "nobody"; what nobody owns
	// has leaked.
	Lines []Line
	// Domains are the spaces, by age.
	Domains []Charge
	// Faults are frees that the frame allocator has refused.
	Faults uint64
}

// Charge is what a domain has, in bytes.
type Charge struct {
	Name                         string
	Image, Memory, State, Tables uint64
	Arenas                       [arena.Regions]uint64
	Total, Peak, Quota           uint64
}

// TakeAccount returns where the RAM is, all of it at one moment.
func TakeAccount() (a Account) {
	a.Lines = make([]Line, 0, 5+ownEnd)
	// Nothing is allocated while the numbers are read.
	var held [ownEnd]uint64
	var c frames.Counts
	for room := 8; ; {
		a.Domains = make([]Charge, 0, room)
		fits := true
		systemstack(func() {
			for s := spaces.first; s != nil; s = s.next {
				if fits = len(a.Domains) < cap(a.Domains); !fits {
					return
				}
				a.Domains = append(a.Domains, s.charge())
			}
			c = pool.Counts()
			for o := range ownEnd {
				held[o] = pool.Held(o)
			}
		})
		if fits {
			break
		}
		room *= 2
	}
	a.RAM = boot.ram
	a.Faults = c.BadFree + c.DoubleFree + c.WrongOwner
	line := func(name string, n uint64) { a.Lines = append(a.Lines, Line{name, n}) }
	line("firmware", boot.firmware)
	line("kernel image", boot.image)
	line("programs", boot.archive)
	line("frame account", c.Own*layout.PageSize)
	for o := frames.Nobody + 1; o < ownEnd; o++ {
		line(ownName(o), held[o]*layout.PageSize)
	}
	line("free", c.Free*layout.PageSize)
	line(ownName(frames.Nobody), held[frames.Nobody]*layout.PageSize)
	return a
}

// charge is what the space has.
func (s *Space) charge() (c Charge) {
	c = Charge{
		Name: s.name, Image: s.held[ownImage], Memory: s.held[ownMemory], State: s.held[ownState], Tables: s.held[ownSpace],
		Total: s.pages, Peak: s.peak, Quota: s.most,
	}
	copy(c.Arenas[:], s.held[ownArena:])
	for _, n := range []*uint64{&c.Image, &c.Memory, &c.State, &c.Tables, &c.Total, &c.Peak, &c.Quota} {
		*n *= layout.PageSize
	}
	for i := range c.Arenas {
		c.Arenas[i] *= layout.PageSize
	}
	return c
}

// Leak takes a frame without an owner or, if charged is set, one for a domain that there
// is not: tests see that the account tells.
func Leak(charged bool) (ok bool) {
	o := frames.Nobody
	if charged {
		o = ownMemory | spacesMax<<classBits
	}
	systemstack(func() { _, ok = pool.Alloc(o) })
	return ok
}
