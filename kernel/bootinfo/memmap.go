package bootinfo

// Type is what a range of physical memory is (ACPI 6.4, table 15.4).
type Type uint32

// Types that the kernel tells apart; all others are treated as Reserved.
const (
	RAM         Type = 1
	Reserved    Type = 2
	Reclaimable Type = 3 // ACPI tables
	NVS         Type = 4
)

const (
	pageSize   = 4096
	rangesMost = 128
)

// Range is a part of physical memory, from Start up to End.
type Range struct {
	Start, End uint64
	Type       Type
}

// MemoryMap lists ranges of physical memory: sorted, not overlapping, RAM
// rounded inward to whole pages, everything else outward.
type MemoryMap struct {
	// Dropped counts ranges that made no sense or found no room.
	Dropped uint32

	n      int
	ranges [2 * rangesMost]Range
}

// Len returns the number of ranges.
func (m *MemoryMap) Len() int { return m.n }

// At returns range i, 0 to Len-1.
func (m *MemoryMap) At(i int) Range { return m.ranges[i] }

// Total returns the bytes of RAM.
func (m *MemoryMap) Total() (bytes uint64) {
	for _, r := range m.ranges[:m.n] {
		if r.Type == RAM {
			bytes += r.End - r.Start
		}
	}
	return bytes
}

// Highest returns the address behind the last byte of RAM.
func (m *MemoryMap) Highest() (end uint64) {
	for _, r := range m.ranges[:m.n] {
		if r.Type == RAM {
			end = r.End
		}
	}
	return end
}

// physicalEnd bounds addresses: 52 bits is what page tables hold.
const physicalEnd = 1 << 52

// add appends a range as the loader gave it, rounded.
func (m *MemoryMap) add(start, size uint64, kind Type) {
	end := start + size
	if size == 0 {
		return
	}
	if end < start || end > physicalEnd || m.n == rangesMost {
		m.Dropped++
		return
	}
	if kind == RAM {
		start = (start + pageSize - 1) &^ (pageSize - 1)
		end &^= pageSize - 1
	} else {
		start &^= pageSize - 1
		end = (end + pageSize - 1) &^ (pageSize - 1)
	}
	if start >= end {
		return
	}
	m.ranges[m.n] = Range{start, end, kind}
	m.n++
}

// settle sorts the ranges and resolves overlaps: what one range calls RAM and
// another does not is not RAM.
func (m *MemoryMap) settle() {
	m.sort()
	// Ranges are taken in order of their start. One that overlaps its
	// predecessor loses the overlap if it is RAM, or else takes it, which may
	// leave the predecessor's tail behind it.
	for i := 1; i < m.n; i++ {
		a, b := &m.ranges[i-1], &m.ranges[i]
		if b.Start >= a.End {
			continue
		}
		switch {
		case a.Type != RAM && b.Type != RAM || a.Type == RAM && b.Type == RAM:
			b.Start = a.End
		case b.Type == RAM:
			b.Start = a.End
		default:
			tail := Range{b.End, a.End, RAM}
			a.End = b.Start
			if tail.Start < tail.End && m.n < len(m.ranges) {
				m.ranges[m.n] = tail
				m.n++
			} else if tail.Start < tail.End {
				m.Dropped++
			}
		}
		m.compact()
		m.sort()
		i = 0
	}
}

// compact removes empty ranges.
func (m *MemoryMap) compact() {
	k := 0
	for _, r := range m.ranges[:m.n] {
		if r.Start < r.End {
			m.ranges[k] = r
			k++
		}
	}
	m.n = k
}

// sort orders the ranges by start, by insertion: they come nearly sorted.
func (m *MemoryMap) sort() {
	for i := 1; i < m.n; i++ {
		for j := i; j > 0 && less(m.ranges[j], m.ranges[j-1]); j-- {
			m.ranges[j], m.ranges[j-1] = m.ranges[j-1], m.ranges[j]
		}
	}
}

func less(a, b Range) bool {
	return a.Start < b.Start || a.Start == b.Start && a.End < b.End
}
