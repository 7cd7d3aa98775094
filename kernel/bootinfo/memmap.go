package bootinfo

// The memory map: entries as the firmware lists them, in any order and perhaps
// overlapping, become sorted ranges that do not overlap.

import "encoding/binary"

const (
	// pageSize is the unit of the memory map in bytes.
	pageSize = 4096
	// rangesMost is the most ranges that a map holds.
	rangesMost = 128
	// reservedMost is how many of them may be other than RAM, so that a map
	// full of holes leaves room for the memory on both sides of each.
	reservedMost = rangesMost/2 - 1
	// entriesMost is the most entries of the loader's table that are read.
	entriesMost = 1024
	// addressEnd is the end of physical memory on any x86-64 (SDM volume 3,
	// 5.1.4: at most 52 bits).
	addressEnd = 1 << 52
)

// Type says what a range of memory is for (XEN_HVM_MEMMAP_TYPE_, which are
// those of the E820 table).
type Type uint32

const (
	RAM         Type = 1 // usable
	Reserved    Type = 2
	Reclaimable Type = 3 // ACPI tables; usable once they have been read
	NVS         Type = 4 // the firmware's across sleep
	Unusable    Type = 5 // faulty
	Disabled    Type = 6
	Persistent  Type = 7
)

// severity orders types: where entries overlap, the more severe one stands.
// A type that is not known may mean anything, as Reserved may.
func (t Type) severity() int {
	switch t {
	case RAM:
		return 0
	case Persistent:
		return 1
	case Reclaimable:
		return 2
	case NVS:
		return 3
	case Disabled:
		return 5
	case Unusable:
		return 6
	}
	return 4
}

// Range is physical memory from Start up to, not including, End: multiples of
// 4096.
type Range struct {
	Start, End uint64
	Type       Type
}

// Problems counts what was wrong with the loader's table.
type Problems struct {
	Unreadable uint32 // entries, or the table, outside of readable memory
	Excess     uint32 // entries behind the last one that is read
	Bad        uint32 // entries that are empty or end beyond 52 bits
	Merged     uint32 // reserved ranges joined with a neighbour for want of room, the gap reserved too
	Dropped    uint32 // RAM ranges left out for want of room
}

// MemoryMap is the machine's memory: sorted ranges that do not overlap. RAM is
// rounded inward to 4 KiB pages and gives way to everything else, which is rounded
// outward.
type MemoryMap struct {
	Problems Problems
	// Base is where RAM begins, if not at 0.
	Base uint64

	ranges [rangesMost]Range
	n      int
}

// Len returns the number of ranges.
func (m *MemoryMap) Len() int { return m.n }

// At returns range i, 0 ≤ i < Len; an empty one for any other i.
func (m *MemoryMap) At(i int) Range {
	if i < 0 || i >= m.n {
		return Range{}
	}
	return m.ranges[i]
}

// Total returns the size of all RAM in bytes.
func (m *MemoryMap) Total() uint64 {
	var sum uint64
	for i := range m.n {
		if r := &m.ranges[i]; r.Type == RAM {
			sum += r.End - r.Start
		}
	}
	return sum
}

// Highest returns the address behind the last byte of RAM; 0 without any.
func (m *MemoryMap) Highest() uint64 {
	for i := m.n - 1; i >= 0; i-- {
		if r := &m.ranges[i]; r.Type == RAM {
			return r.End
		}
	}
	return 0
}

// lowEnd is where the addresses of devices end that lie below 4 GiB.
const lowEnd = 4 << 30

// Installed returns how much RAM the machine has, in bytes, as far as the map tells:
// below 4 GiB all up to the last RAM, and what the firmware keeps directly behind it;
// from there on all RAM. Nobody says what lies in the gaps of the first MiB: it is RAM
// behind the display's and the firmware's addresses.
func (m *MemoryMap) Installed() uint64 {
	var low, high uint64
	for i := range m.n {
		switch r := &m.ranges[i]; {
		case r.Type == RAM && r.Start >= lowEnd:
			high += r.End - r.Start
		case r.Type == RAM:
			low = min(r.End, lowEnd)
			high += r.End - low
		}
	}
	for i := range m.n {
		if r := &m.ranges[i]; r.Type != RAM && r.Start == low && r.End <= lowEnd {
			low = r.End
		}
	}
	return low - min(low, m.Base) + high
}

// parse reads count entries at table, twice: what is reserved first, so that
// RAM can be laid around it.
func (m *MemoryMap) parse(table uint64, count uint32, read func(phys uint64, n int) []byte) {
	if count > entriesMost {
		m.Problems.Excess = count - entriesMost
		count = entriesMost
	}
	for pass := range 2 {
		wantRAM := pass == 1
		for i := range uint64(count) {
			at := table + i*entrySize
			b := read(at, entrySize)
			if at < table || len(b) < entrySize {
				if !wantRAM {
					m.Problems.Unreadable++
				}
				continue
			}
			start := binary.LittleEndian.Uint64(b)
			size := binary.LittleEndian.Uint64(b[8:])
			t := Type(binary.LittleEndian.Uint32(b[16:]))
			if wantRAM == (t == RAM) {
				m.add(start, size, t)
			} else if !wantRAM && bad(start, size) {
				m.Problems.Bad++
			}
		}
	}
}

// bad reports whether an entry is empty or ends beyond 52 bits.
func bad(start, size uint64) bool {
	return size == 0 || start+size < start || start+size > addressEnd
}

// add adds an entry; RAM comes behind all that is not.
func (m *MemoryMap) add(start, size uint64, t Type) {
	end := start + size
	if bad(start, size) {
		if t != RAM {
			m.Problems.Bad++
		}
		if size == 0 || start >= addressEnd {
			return
		}
		end = addressEnd
	}
	if t == RAM {
		m.addRAM((start+pageSize-1)&^(pageSize-1), end&^(pageSize-1))
	} else {
		m.addReserved(start&^(pageSize-1), (end+pageSize-1)&^(pageSize-1), t)
	}
}

// addReserved adds a range that is not RAM while the map holds no RAM. It is
// never left out: without room it is joined with its nearest neighbour.
func (m *MemoryMap) addReserved(start, end uint64, t Type) {
	if m.insert(start, end, t, reservedMost) {
		return
	}
	m.Problems.Merged++
	after := 0
	for after < m.n && m.ranges[after].Start < start {
		after++
	}
	// The map is full and no range overlaps [start, end): it lies between
	// ranges after-1 and after, of which there is at least one.
	if after == m.n || after > 0 && start-m.ranges[after-1].End <= m.ranges[after].Start-end {
		after--
		m.ranges[after].End = end
	} else {
		m.ranges[after].Start = start
	}
	m.ranges[after].Type = Reserved
}

// addRAM adds the parts of [start, end) that nothing else claims.
func (m *MemoryMap) addRAM(start, end uint64) {
	for i := 0; start < end; {
		for i < m.n && (m.ranges[i].Type == RAM || m.ranges[i].End <= start) {
			i++
		}
		part := end
		if i < m.n {
			part = min(end, m.ranges[i].Start)
		}
		if start < part {
			if !m.insert(start, part, RAM, rangesMost) {
				m.Problems.Dropped++
			}
			// Ranges have moved; those before start are skipped again.
			i = 0
		}
		if part == end {
			return
		}
		for i < m.n && (m.ranges[i].Type == RAM || m.ranges[i].End <= part) {
			i++
		}
		start = m.ranges[i].End
	}
}

// insert joins [start, end) with the ranges that it overlaps or, being of its
// type, touch it. It reports false when it needs a range of its own and the
// map has limit ranges already.
func (m *MemoryMap) insert(start, end uint64, t Type, limit int) bool {
	first := 0
	for first < m.n && (m.ranges[first].End < start || m.ranges[first].End == start && m.ranges[first].Type != t) {
		first++
	}
	last := first
	for last < m.n && (m.ranges[last].Start < end || m.ranges[last].Start == end && m.ranges[last].Type == t) {
		r := &m.ranges[last]
		start, end = min(start, r.Start), max(end, r.End)
		if r.Type.severity() > t.severity() {
			t = r.Type
		}
		last++
	}
	if first == last {
		if m.n >= limit {
			return false
		}
		copy(m.ranges[first+1:], m.ranges[first:m.n])
		m.n++
	} else {
		copy(m.ranges[first+1:], m.ranges[last:m.n])
		m.n -= last - first - 1
	}
	m.ranges[first] = Range{start, end, t}
	return true
}
