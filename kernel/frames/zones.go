package frames

// How the memory map becomes zones, and where the bitmaps go.

import "github.com/sluice-os/sluice/kernel/layout"

const (
	// zonesMax is the most pieces of RAM that are managed; a map has 128
	// ranges at most, and each reserved range makes one piece more.
	zonesMax = 144
	// bitmapEnd bounds where the bitmaps may lie: only the first 4 GiB are
	// mapped while they are made.
	bitmapEnd = 4 << 30
	// addressEnd bounds the memory that is handed out: the direct map's end.
	addressEnd = layout.DirectMapSize
)

// addZones adds the parts of [start, end) that are not reserved, as zones of
// whole frames.
func (a *Allocator) addZones(start, end uint64, reserved []Range) {
	for start < end {
		// The reserved range that begins first among those not yet passed.
		next := Range{end, end}
		for _, r := range reserved {
			if r.Start < r.End && r.End > start && r.Start < next.Start {
				next = r
			}
		}
		a.addZone(start, min(next.Start, end))
		start = max(start, next.End)
	}
}

func (a *Allocator) addZone(start, end uint64) {
	start, end = (start+Size-1)&^(Size-1), end&^(Size-1)
	if start >= end {
		return
	}
	count := (end - start) / Size
	if n := a.zoneCount; n > 0 && a.zones[n-1].end() == start {
		a.zones[n-1].count += count
		return
	}
	if a.zoneCount == zonesMax {
		a.counts.Lost += count
		return
	}
	a.zones[a.zoneCount] = zone{start: start, count: count}
	a.zoneCount++
}

// carve takes size bytes from the start of the first zone that has them, and
// returns where they can be reached. At least one frame stays in the zone.
func (a *Allocator) carve(size uint64) (addr uintptr, ok bool) {
	count := (size + Size - 1) / Size
	for i := range a.zoneCount {
		z := &a.zones[i]
		if z.count > count && z.start+count*Size <= bitmapEnd {
			addr = a.Base + uintptr(z.start)
			z.start += count * Size
			z.count -= count
			a.counts.Own = count
			return addr, true
		}
	}
	return 0, false
}
