package vm

import (
	"fmt"

	"github.com/sluice-os/sluice/kernel/frames"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/nexus/abi"
)

// This file owns the comparison of the account with what is really used: the tags of
// all frames, the page tables of the kernel and of all domains, and the lists of what
// is handed out.

// audit is one pass over everything.
type audit struct {
	seen  []uint64 // a bit a frame: something that is used has led there
	found [ownEnd]uint64
	// spaces are those that there are, by number, and tagged what their frames' tags
	// say that they have.
	spaces []*Space
	tagged [][ownEnd]uint64
	// What is wrong, and the first frame of each.
	twice, other, stray, gone fault
}

// fault counts frames, and keeps the first.
type fault struct{ n, first uint64 }

func (f *fault) add(phys uint64) {
	if f.n == 0 {
		f.first = phys
	}
	f.n++
}

// run is n frames in a row.
type run struct {
	phys, n uint64
	class   frames.Owner
}

// Audit looks at every frame and at everything that uses one, and returns what does not
// agree with the account: a line each, none if all is well. The machine does nothing
// else meanwhile: under emulation for 2 ms for each GiB of RAM and more where it is used.
func Audit() (problems []string) {
	runsMu.Lock()
	defer runsMu.Unlock()
	// Nothing is allocated while it looks.
	a := &audit{
		seen:   make([]uint64, (pool.Counts().Total+63)/64),
		spaces: make([]*Space, spacesMax+1), tagged: make([][ownEnd]uint64, spacesMax+1),
	}
	var list []run
	for _, r := range []*runs{&devices, &pages, &tables} {
		for phys, n := range r.list {
			list = append(list, run{phys, n, r.owner})
		}
	}
	var tagged, held [ownEnd]uint64
	var c frames.Counts
	var wrong *Space
	free := uint64(0)
	systemstack(func() {
		c = pool.Counts()
		for s := spaces.first; s != nil; s = s.next {
			a.spaces[s.number] = s
		}
		for i := range c.Total {
			o, taken := pool.OwnerAt(i)
			class, number := o&classMask, o>>classBits
			switch {
			case !taken:
				free++
			case class >= ownEnd, class >= ownImage && a.spaces[number] == nil, class < ownImage && number != 0:
				a.gone.add(i)
				fallthrough
			default:
				tagged[class%ownEnd]++
				a.tagged[number][class%ownEnd]++
			}
		}
		for class := range ownEnd {
			held[class] = pool.Held(class)
		}
		a.kernel()
		for s := spaces.first; s != nil; s = s.next {
			if !a.space(s) && wrong == nil {
				wrong = s
			}
		}
		for _, r := range list {
			for i := range r.n {
				a.use(r.phys+i*layout.PageSize, r.class)
			}
		}
	})
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	sum := boot.firmware + boot.image + boot.archive + (c.Own+c.Free)*layout.PageSize
	for class := range ownEnd {
		sum += held[class] * layout.PageSize
		if held[class] != tagged[class] {
			problem("%s: %d frames are counted, %d have its tag", ownName(class), held[class], tagged[class])
		}
		// An arena's memory need not be shown to its domain.
		if class != frames.Nobody && class < ownArena && tagged[class] != a.found[class] {
			problem("%s: %d frames are its, %d are used", ownName(class), tagged[class], a.found[class])
		}
	}
	if sum != boot.ram || free != c.Free {
		problem("the owners have %d bytes, the machine has %d; %d frames are free, %d are counted", sum, boot.ram, free, c.Free)
	}
	if held[frames.Nobody] != 0 {
		problem("nobody: %d frames are taken and nobody's", held[frames.Nobody])
	}
	if n := c.BadFree + c.DoubleFree + c.WrongOwner; n != 0 {
		problem("frees: %d of no frame, %d twice, %d of another's", c.BadFree, c.DoubleFree, c.WrongOwner)
	}
	if wrong != nil {
		problem("domain %s: its charges are not what it has", wrong.name)
	}
	if a.gone.n != 0 {
		problem("%d frames are a domain's that is gone, the first has number %d", a.gone.n, a.gone.first)
	}
	for _, f := range [...]struct {
		fault
		what string
	}{{a.twice, "used twice"}, {a.other, "used by who does not own them"}, {a.stray, "used and free"}} {
		if f.n != 0 {
			problem("%d frames are %s, the first at %#x", f.n, f.what, f.first)
		}
	}
	return problems
}

// use notes that a frame is used by an owner. What is no frame of the pool's is not noted:
// registers, the image.
func (a *audit) use(phys uint64, o frames.Owner) {
	i, ok := pool.Index(phys)
	if !ok {
		return
	}
	is, taken := pool.OwnerAt(i)
	switch {
	case !taken:
		a.stray.add(phys)
	case is != o:
		a.other.add(phys)
	case a.seen[i/64]>>(i%64)&1 != 0:
		a.twice.add(phys)
	default:
		a.seen[i/64] |= 1 << (i % 64)
		a.found[o&classMask]++
	}
}

// lowHalf are the bits of an address that the tables translate.
const lowHalf = 1<<48 - 1

// kernel walks the kernel's tables.
func (a *audit) kernel() {
	a.use(root, ownTable)
	for i, e := range at(root) {
		if e&present != 0 {
			a.tables(e&addrMask, uint64(i)<<shifts[0], 1)
		}
	}
}

// tables walks a table of the kernel's that begins at addr.
func (a *audit) tables(phys, addr uint64, depth int) {
	a.use(phys, ownTable)
	for i, e := range at(phys) {
		addr := addr + uint64(i)<<shifts[depth]
		switch {
		case e&present == 0 || isLarge(e) && depth < 3: // the direct map
		case depth < 3:
			a.tables(e&addrMask, addr, depth+1)
		case addr >= uint64(heapStart) && addr < layout.HeapEnd:
			a.use(e&addrMask, ownHeap)
		case addr >= layout.Window&lowHalf: // addr is not sign-extended
			a.use(e&addrMask, ownStack) // or a register
		}
	}
}

// space walks a domain's tables and reports whether its charges are right.
func (a *audit) space(s *Space) bool {
	before := a.found
	a.use(s.root, s.owner(ownSpace))
	low := at(s.root)[0] & addrMask
	a.use(low, s.owner(ownSpace))
	for i := abi.Start >> 30; i < abi.SharedEnd>>30; i++ {
		if e := at(low)[i]; e&present != 0 {
			a.use(e&addrMask, s.owner(ownSpace))
			for _, e := range at(e & addrMask) {
				if e&present != 0 {
					a.use(e&addrMask, s.owner(ownSpace))
					for _, e := range at(e & addrMask) {
						if e&present != 0 {
							a.page(s, e)
						}
					}
				}
			}
		}
	}
	for _, phys := range s.private {
		a.use(phys, s.owner(ownState))
	}
	for _, phys := range [...]uint64{s.zero, s.shadow} {
		if phys != 0 {
			a.use(phys, s.owner(ownState))
		}
	}
	total := uint64(0)
	for class := ownImage; class < ownEnd; class++ {
		n := s.held[class]
		total += n
		shown := a.found[class] - before[class]
		if a.tagged[s.number][class] != n || shown > n || shown < n && class < ownArena {
			return false
		}
	}
	return total == s.pages && s.pages <= s.most
}

// page looks at one entry of a domain's page table.
func (a *audit) page(s *Space, e uint64) {
	phys := e & addrMask
	if e&hole != 0 {
		if e&owned != 0 || phys != s.shadow && (phys != s.zero || e&writable != 0) {
			a.other.add(phys)
		}
		return
	}
	i, ok := pool.Index(phys)
	if !ok {
		return // shown from the archive
	}
	o, _ := pool.OwnerAt(i)
	switch class := o & classMask; {
	case e&owned != 0 && class >= ownImage && class < ownSpace, e&owned == 0 && class >= ownArena:
		a.use(phys, s.owner(class))
	case e&owned == 0 && class == ownShared: // counted where it is handed out
	default:
		a.other.add(phys)
	}
}
