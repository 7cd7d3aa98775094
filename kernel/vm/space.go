package vm

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/frames"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
)

// Rights say what a domain may do with a page. It may always read it.
type Rights uint64

const (
	Read  Rights = noExec
	Write Rights = noExec | writable
	Exec  Rights = 0
)

// Space is the address space of a domain: its pages between abi.Start and
// abi.SharedEnd, and the kernel's own mappings, which ring 3 cannot use. The
// pages that it takes, those of its tables included, are counted.
//
// The methods run on the system stack, so that no other goroutine sees a space
// half changed.
type Space struct {
	name   string       // of the domain, for the account
	number frames.Owner // no other space has it; above classBits in the frames' tags
	root   uint64       // physical address of its PML4
	pages  uint64       // frames that it has
	most   uint64       // frames that it may have
	peak   uint64
	// held are the frames by owner: pages in all.
	held [ownEnd]uint64
	// zero and shadow are what stands for memory that is not there: see Hole. 0: there
	// are none yet.
	zero, shadow uint64
	// private are the frames of Private.
	private []uint64
	// prev and next are its neighbours among all spaces.
	prev, next *Space
}

// spaces are all that have frames, by age.
var spaces struct{ first, last *Space }

// enter takes the space into the list, leave out of it.
func (s *Space) enter() {
	s.prev = spaces.last
	if s.prev != nil {
		s.prev.next = s
	} else {
		spaces.first = s
	}
	spaces.last = s
}

func (s *Space) leave() {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		spaces.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		spaces.last = s.prev
	}
	s.prev, s.next = nil, nil
}

// owner is the tag of a frame that the space has.
func (s *Space) owner(class frames.Owner) frames.Owner { return class | s.number<<classBits }

// spacesMax is how many spaces there can be at a time: more than there are domains.
const spacesMax = 1<<(16-classBits) - 1

// free returns a number that no space has; 0 when all are taken.
func freeNumber() frames.Owner {
	for n := frames.Owner(1); n <= spacesMax; n++ {
		taken := false
		for s := spaces.first; s != nil; s = s.next {
			taken = taken || s.number == n
		}
		if !taken {
			return n
		}
	}
	return 0
}

// NewSpace makes an address space for a domain, which may take quota bytes. It
// returns nil when the quota or the machine's memory does not hold its first tables.
func NewSpace(name string, quota uint64) (s *Space) {
	made := &Space{name: name, most: quota / layout.PageSize}
	systemstack(func() {
		if made.number = freeNumber(); made.number != 0 && made.tables() {
			made.enter()
			s = made
		}
	})
	return s
}

// tables makes the space's first tables.
func (s *Space) tables() bool {
	top, ok := s.frame(ownSpace)
	if !ok {
		return false
	}
	low, ok := s.frame(ownSpace)
	if !ok {
		s.drop(top)
		return false
	}
	s.root = top
	kernel := at(root)
	// The upper half is the kernel's: its tables are shared, so that what it
	// maps later is seen here too.
	copy(at(top)[256:], kernel[256:])
	at(top)[0] = low | present | writable | user
	// The first GiB is the kernel's. Without the user bit here nothing below
	// is ring 3's.
	at(low)[0] = at(kernel[0] & addrMask)[0]
	return true
}

// kernelFrames is how many frames the kernel's heap may come to have. Domains get
// what is left beside it: the kernel must never run out.
var kernelFrames uint64

// ReserveHeap keeps frames for a kernel heap of some bytes.
func ReserveHeap(bytes uint64) { kernelFrames = bytes / layout.PageSize }

// Full says that the space has all the memory that it may have. If it does not
// and gets none, the machine has no more for domains.
func (s *Space) Full() bool { return s.pages >= s.most }

// frame takes a zeroed frame for the space.
func (s *Space) frame(o frames.Owner) (phys uint64, ok bool) {
	if !s.affords(1) {
		return 0, false
	}
	if phys, ok = allocFrame(s.owner(o)); ok {
		s.took(1, o)
	}
	return phys, ok
}

// room is how many frames are left for domains.
func room() uint64 {
	free := pool.Counts().Free
	if free+pool.Held(ownHeap) <= kernelFrames {
		return 0
	}
	return min(free+pool.Held(ownHeap)-kernelFrames, free)
}

// Room is how many bytes are left for domains.
func Room() (n uint64) {
	systemstack(func() { n = room() * layout.PageSize })
	return n
}

// affords says whether neither the quota nor the machine's memory is against n frames
// more.
func (s *Space) affords(n uint64) bool {
	return s.pages+n <= s.most && room() >= n
}

func (s *Space) took(n uint64, o frames.Owner) {
	s.pages += n
	s.held[o] += n
	s.peak = max(s.peak, s.pages)
}

// entry returns the page table entry of addr, a domain's address; nil when a
// table is missing and grow is not set or not possible.
func (s *Space) entry(addr uint64, grow bool) *uint64 {
	t := at(s.root)
	for d := 0; ; d++ {
		e := &t[addr>>shifts[d]&511]
		if d == 3 {
			return e
		}
		if *e&present == 0 {
			if !grow {
				return nil
			}
			phys, ok := s.frame(ownSpace)
			if !ok {
				return nil
			}
			*e = phys | present | writable | user
		}
		t = at(*e & addrMask)
	}
}

// inRange says that n bytes at addr are a domain's addresses.
func inRange(addr, n uint64) bool {
	return addr >= abi.Start && addr+n >= addr && addr+n <= abi.SharedEnd
}

// Use is what a page is given for.
type Use frames.Owner

const (
	ForImage  = Use(ownImage)  // a copy of what came with the program
	ForMemory = Use(ownMemory) // heap or stack
	ForState  = Use(ownState)  // what the kernel tells the domain
)

// Give puts a new zeroed page at addr and returns it. It returns nil when the
// quota is used up or the machine has no frame left.
func (s *Space) Give(addr uint64, r Rights, u Use) (page []byte) {
	systemstack(func() {
		if !inRange(addr, layout.PageSize) {
			return
		}
		e := s.entry(addr, true)
		if e == nil || *e&present != 0 {
			return
		}
		phys, ok := s.frame(frames.Owner(u))
		if !ok {
			return
		}
		*e = phys | present | user | owned | uint64(r)
		page = bytesAt(uintptr(layout.DirectMap+phys), layout.PageSize)
	})
	return page
}

// Private returns a new zeroed page that is the space's and that the domain
// cannot reach; nil when the quota is used up.
func (s *Space) Private() (page []byte) {
	var phys uint64
	systemstack(func() {
		var ok bool
		if phys, ok = s.frame(ownState); ok {
			page = bytesAt(uintptr(layout.DirectMap+phys), layout.PageSize)
		}
	})
	if page != nil {
		s.private = append(s.private, phys)
	}
	return page
}

// Alloc returns memory of the space's for a region of an arena, in one piece, that the
// domain cannot reach before Share maps it. It holds what its last owner left in it. It
// counts against the quota, and must be freed before the space is destroyed. false: see
// Holds.
func (s *Space) Alloc(id arena.ID, size int) (memory []byte, ok bool) {
	n, o := uint64(size)/layout.PageSize, ownArena+frames.Owner(id)
	systemstack(func() {
		if !s.affords(n) {
			return
		}
		if phys, ok := pool.AllocRun(n, 1, s.owner(o)); ok {
			s.took(n, o)
			memory = bytesAt(uintptr(layout.DirectMap+phys), int(n*layout.PageSize))
		}
	})
	return memory, memory != nil
}

// Holds says that the quota holds so many bytes more. If it does and Alloc fails, the
// machine has no more for domains, or not in one piece.
func (s *Space) Holds(size int) (ok bool) {
	systemstack(func() { ok = s.pages+uint64(size)/layout.PageSize <= s.most })
	return ok
}

// Free takes memory of Alloc back. It must not be mapped any more.
func (s *Space) Free(memory []byte) {
	first := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))) - layout.DirectMap
	for off := uint64(0); off < uint64(len(memory)); off += layout.PageSize {
		systemstack(func() { s.drop(first + off) })
	}
}

// Unshare takes the mappings of Share from n bytes at addr away.
func (s *Space) Unshare(addr, n uint64) {
	if !inRange(addr, n) {
		return
	}
	systemstack(func() {
		live := cpu.Root() == s.root
		for end := addr + n; addr < end; addr += layout.PageSize {
			e := s.entry(addr, false)
			if e == nil || *e&(present|owned) != present {
				continue
			}
			*e = 0
			if live {
				cpu.FlushPage(uintptr(addr))
			}
		}
	})
}

// Share maps memory of the kernel, whole pages, at addr, in place of holes and of pages
// that the space has there. The memory must stay for as long as it is mapped. It reports false, and has
// changed nothing, when the quota does not hold the tables or other memory is shared
// there.
func (s *Space) Share(addr uint64, memory []byte, r Rights) (ok bool) {
	systemstack(func() {
		if !inRange(addr, uint64(len(memory))) || len(memory)%layout.PageSize != 0 {
			return
		}
		for off := 0; off < len(memory); off += layout.PageSize {
			e := s.entry(addr+uint64(off), true)
			if e == nil || *e&(present|owned|hole) == present || physical(uintptr(unsafe.Pointer(&memory[off]))) == 0 {
				return
			}
		}
		live := cpu.Root() == s.root
		for off := 0; off < len(memory); off += layout.PageSize {
			e := s.entry(addr+uint64(off), false)
			was := *e
			*e = physical(uintptr(unsafe.Pointer(&memory[off]))) | present | user | uint64(r)
			if was&present == 0 {
				continue
			}
			if was&owned != 0 {
				s.drop(was & addrMask)
			}
			if live {
				cpu.FlushPage(uintptr(addr) + uintptr(off))
			}
		}
		ok = true
	})
	return ok
}

// physical returns where a page of the kernel's lies; 0 when it is not mapped.
func physical(addr uintptr) uint64 {
	t := at(root)
	for d := 0; d < 4; d++ {
		e := t[addr>>shifts[d]&511]
		if e&present == 0 {
			return 0
		}
		if d == 3 || isLarge(e) {
			offset := uint64(addr) & (1<<shifts[d] - 1)
			return (e & addrMask &^ (1<<shifts[d] - 1)) + offset
		}
		t = at(e & addrMask)
	}
	return 0
}

// Page returns the page at addr as the kernel sees it, when the domain can read
// it and, if write is set, write it; else nil. It is the only way by which the
// kernel reaches a domain's memory.
func (s *Space) Page(addr uint64, write bool) (page []byte) {
	systemstack(func() {
		if !inRange(addr, 1) {
			return
		}
		e := s.entry(addr&^(layout.PageSize-1), false)
		if e == nil || *e&present == 0 || *e&user == 0 || write && *e&writable == 0 {
			return
		}
		page = bytesAt(uintptr(layout.DirectMap+*e&addrMask), layout.PageSize)
	})
	return page
}

// Release takes the pages that the space owns from n bytes at addr, which must
// be multiples of the page size.
func (s *Space) Release(addr, n uint64) {
	if !inRange(addr, n) {
		return
	}
	for end := addr + n; addr < end; {
		systemstack(func() { addr = s.release(addr, end) })
	}
}

// release takes the pages of one page table at most, and returns where to go on:
// it cannot be preempted.
func (s *Space) release(addr, end uint64) uint64 {
	if skip := s.hole(addr); skip != 0 {
		return min(end, addr&^(skip-1)+skip)
	}
	live := cpu.Root() == s.root
	for end = min(end, addr&^(1<<21-1)+1<<21); addr < end; addr += layout.PageSize {
		e := s.entry(addr, false)
		if *e&(present|owned) != present|owned {
			continue
		}
		s.drop(*e & addrMask)
		*e = 0
		if live {
			cpu.FlushPage(uintptr(addr))
		}
	}
	return addr
}

// hole returns the size of the table that is missing at addr; 0 for none.
func (s *Space) hole(addr uint64) uint64 {
	t := at(s.root)
	for d := range 3 {
		e := t[addr>>shifts[d]&511]
		if e&present == 0 {
			return 1 << shifts[d]
		}
		t = at(e & addrMask)
	}
	return 0
}

// Destroy gives back everything that the space has. It must not be entered
// again.
func (s *Space) Destroy() {
	if s.root == 0 {
		return
	}
	systemstack(func() {
		if cpu.Root() == s.root {
			cpu.SetRoot(root)
		}
	})
	// Nobody looks at the tables any more. A page table at a time: this cannot
	// be preempted, and a space may be large.
	low := at(s.root)[0] & addrMask
	for i := abi.Start >> 30; i < abi.SharedEnd>>30; i++ {
		if e := at(low)[i]; e&present != 0 {
			directory := e & addrMask
			for _, e := range at(directory) {
				if e&present != 0 {
					systemstack(func() { s.dropTable(e & addrMask) })
				}
			}
			systemstack(func() { s.drop(directory) })
		}
	}
	systemstack(func() {
		for _, phys := range s.private {
			s.drop(phys)
		}
		for _, phys := range [...]uint64{s.zero, s.shadow} {
			if phys != 0 {
				s.drop(phys)
			}
		}
		s.drop(low)
		s.drop(s.root)
		s.leave()
	})
	s.root, s.zero, s.shadow, s.private = 0, 0, 0, nil
}

// dropTable frees a page table and the pages in it that are the space's.
func (s *Space) dropTable(phys uint64) {
	for _, e := range at(phys) {
		if e&(present|owned) == present|owned {
			s.drop(e & addrMask)
		}
	}
	s.drop(phys)
}

// drop gives back a frame that the space has. What it has not is refused and counted.
func (s *Space) drop(phys uint64) {
	class := ownSpace
	if i, ok := pool.Index(phys); ok {
		o, _ := pool.OwnerAt(i)
		class = o & classMask
	}
	if pool.Free(phys, s.owner(class)) {
		s.held[class]--
		s.pages--
	}
}

// Root is the physical address of the space's PML4, for CR3.
func (s *Space) Root() uint64 { return s.root }

// Used, Peak and Quota are what the space has, the most it had and may have, in
// bytes.
func (s *Space) Used() uint64  { return s.pages * layout.PageSize }
func (s *Space) Peak() uint64  { return s.peak * layout.PageSize }
func (s *Space) Quota() uint64 { return s.most * layout.PageSize }
