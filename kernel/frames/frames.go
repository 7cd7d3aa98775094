// Package frames hands out physical memory in frames of 4 KiB. It is fed with
// the boot memory map, holes and all.
//
// The Go runtime's memory hooks call it with the heap locked, so nothing here
// allocates, panics, locks, grows the stack or holds a pointer; the caller sees
// to it that one call has ended before the next begins.
package frames

import "github.com/sluice-os/sluice/kernel/bootinfo"

const (
	// Size is the size of a frame in bytes.
	Size = 4096
	// First is the lowest address that is handed out: what lies below 2 MiB is
	// left to firmware.
	First = 2 << 20
)

// Range is a part of physical memory, from Start up to End.
type Range struct{ Start, End uint64 }

// Counts says where the frames are.
type Counts struct {
	Total      uint64 // frames that the allocator was given
	Free       uint64 // frames that nobody has
	Used       uint64 // frames that are handed out; with Free, all of Total
	Peak       uint64 // the most that were ever handed out at a time
	BadFree    uint64 // frees of what is no frame of the allocator's
	DoubleFree uint64 // frees of frames that were free
	WrongOwner uint64 // frees of frames that are another owner's
	Lost       uint64 // frames left out because the map has too many holes
	Own        uint64 // frames that the allocator keeps for its own account
}

// Allocator is the frame allocator. Every call but Init and AllocRun takes
// constant time.
//
// Low frames go first, which the kernel relies on while it boots: until it
// has loaded its own page tables only the first 4 GiB are mapped, and a frame
// above them, taken for a page table, could not be written. The bitmaps lie
// below 4 GiB for the same reason.
type Allocator struct {
	// Base is added to a physical address to reach it. It must map all frames
	// below 4 GiB when Init is called.
	Base uintptr

	// The RAM that the allocator was given lies in zones, sorted. Its frames
	// are numbered without the holes between: their indices.
	zones     [zonesMax]zone
	zoneCount int
	free      tree            // bit i: frame of index i is free
	tags      uintptr         // of the owners of all frames
	held      [Classes]uint64 // frames by class
	counts    Counts
}

// zone is RAM in one piece.
type zone struct {
	start uint64 // address of its first frame
	count uint64 // frames
	first uint64 // index of its first frame
}

func (z *zone) end() uint64 { return z.start + z.count*Size }

// Init takes all RAM of the map but the reserved ranges. It reports false when
// there is no room for its own bitmaps.
func (a *Allocator) Init(m *bootinfo.MemoryMap, reserved []Range) bool {
	a.zoneCount, a.counts, a.held = 0, Counts{}, [Classes]uint64{}
	for i := range m.Len() {
		if r := m.At(i); r.Type == bootinfo.RAM {
			a.addZones(max(r.Start, First), min(r.End, addressEnd), reserved)
		}
	}
	var count uint64
	for i := range a.zoneCount {
		count += a.zones[i].count
	}
	// Room is made for all of them, those that the account will lie in too. What
	// the tags hold now is told of no frame: all are free.
	var ok bool
	if a.free.base, ok = a.carve(treeBytes(count) + count*tagBytes); !ok {
		return false
	}
	a.tags = a.free.base + uintptr(treeBytes(count))
	count = 0
	for i := range a.zoneCount {
		a.zones[i].first = count
		count += a.zones[i].count
	}
	a.free.fill(count)
	a.counts.Total, a.counts.Free = count, count
	return count > 0
}

// Alloc hands out the lowest free frame, to an owner. Its content is what it was.
//
//go:nosplit
func (a *Allocator) Alloc(o Owner) (phys uint64, ok bool) {
	if a.counts.Free == 0 {
		return 0, false
	}
	i := a.free.lowest()
	a.free.clear(i)
	*a.tag(i) = o
	a.took(1, o)
	z := a.zoneOf(i)
	return z.start + (i-z.first)*Size, true
}

// Free takes a frame back from its owner. It reports false, and only counts,
// when phys is not the address of a frame that was handed out to that one.
//
//go:nosplit
func (a *Allocator) Free(phys uint64, o Owner) bool {
	i, ok := a.index(phys)
	if !ok {
		a.counts.BadFree++
		return false
	}
	if a.free.has(i) {
		a.counts.DoubleFree++
		return false
	}
	if *a.tag(i) != o {
		a.counts.WrongOwner++
		return false
	}
	a.free.set(i)
	a.held[o%Classes]--
	a.counts.Free++
	a.counts.Used--
	return true
}

// Counts returns the present counts.
func (a *Allocator) Counts() Counts { return a.counts }

//go:nosplit
func (a *Allocator) took(n uint64, o Owner) {
	a.held[o%Classes] += n
	a.counts.Free -= n
	a.counts.Used += n
	a.counts.Peak = max(a.counts.Peak, a.counts.Used)
}

// zoneOf returns the zone that holds index i, which is below Total.
//
//go:nosplit
func (a *Allocator) zoneOf(i uint64) *zone {
	low, high := 0, a.zoneCount-1
	for low < high {
		middle := (low + high + 1) / 2
		if a.zones[middle].first <= i {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return &a.zones[low]
}

// index returns the index of the frame at phys; ok is false when there is none.
//
//go:nosplit
func (a *Allocator) index(phys uint64) (i uint64, ok bool) {
	low, high := 0, a.zoneCount-1
	for low < high {
		middle := (low + high + 1) / 2
		if a.zones[middle].start <= phys {
			low = middle
		} else {
			high = middle - 1
		}
	}
	z := &a.zones[low]
	if a.zoneCount == 0 || phys%Size != 0 || phys < z.start || phys >= z.end() {
		return 0, false
	}
	return z.first + (phys-z.start)/Size, true
}
