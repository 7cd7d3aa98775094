package frames

// AllocRun hands out n frames in a row to an owner, the lowest there are, whose
// first is a multiple of align frames (a power of two). It takes time in
// proportion to the number of frames that there are.
//
//go:nosplit
func (a *Allocator) AllocRun(n, align uint64, o Owner) (phys uint64, ok bool) {
	if n == 0 || n > a.counts.Free || align == 0 || align&(align-1) != 0 {
		return 0, false
	}
	for i := range a.zoneCount {
		z := &a.zones[i]
		if z.count < n {
			continue
		}
		at, ok := a.findRun(z, n, align)
		if !ok {
			continue
		}
		for f := at; f < at+n; f++ {
			a.free.clear(f)
			*a.tag(f) = o
		}
		a.took(n, o)
		return z.start + (at-z.first)*Size, true
	}
	return 0, false
}

// findRun returns the index of the first of n free frames in z.
//
//go:nosplit
func (a *Allocator) findRun(z *zone, n, align uint64) (at uint64, ok bool) {
	end := z.first + z.count
	at = a.free.next(z.first, end, true)
	for {
		// Aligned is the address, so the zone's start takes part.
		frame := z.start/Size + (at - z.first)
		skip := -frame & (align - 1)
		if skip > end-at || n > end-at-skip {
			return 0, false
		}
		at += skip
		taken := a.free.next(at, at+n, false)
		if taken == at+n {
			return at, true
		}
		at = a.free.next(taken, end, true)
	}
}
