package domain

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/domain/program"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
)

const pageSize = 4096

// memory is a domain's address space and what belongs where in it.
type memory struct {
	space   *vm.Space
	program *program.Image
	// arenas are those of open channels.
	arenas  [abi.ChannelsMax]*arena.Layout
	relieve func(need uint64) bool // see Environment
}

// pageNeed is what a page takes at most, with the page tables that lead to it, in bytes.
const pageNeed = 4 * pageSize

// give is Space.Give, for which idle channels make room when the machine has none.
func (m *memory) give(page uint64, r vm.Rights, u vm.Use) []byte {
	p := m.space.Give(page, r, u)
	if p == nil && m.more(pageNeed) {
		p = m.space.Give(page, r, u)
	}
	return p
}

// more is for what found no memory: whether there may be some now.
func (m *memory) more(need uint64) bool {
	return !m.space.Full() && m.relieve != nil && m.relieve(need)
}

// segment returns the program's segment that holds addr; nil for none.
func (m *memory) segment(addr uint64) *program.Segment {
	for i := range m.program.Segments {
		if s := &m.program.Segments[i]; s.Start <= addr && addr < s.End {
			return s
		}
	}
	return nil
}

// access is what a domain, or the kernel for it, wants of a page.
type access int

const (
	read access = iota
	write
	execute
)

func (a access) String() string { return [...]string{"read", "write", "execution"}[a] }

// refusal says why a page is not given; "" means that it is there now.
type refusal string

const (
	allowed  refusal = ""
	noMemory refusal = "no memory of the domain's"
	noRight  refusal = "the memory does not allow it"
	noQuota  refusal = "the quota is used up"
	noFrames refusal = "the machine has no memory left for domains"
	overflow refusal = "stack overflow"
)

// touch makes the page of addr usable for an access, giving it when it is
// missing and belongs to the domain.
func (m *memory) touch(addr uint64, a access) refusal {
	if inArenas(addr) {
		return m.touchArena(addr, a)
	}
	if m.space.Page(addr, false) != nil {
		// It is there already: only a right can be missing.
		if s := m.segment(addr); a == execute && (s == nil || !s.Exec) || a == write && m.space.Page(addr, true) == nil {
			return noRight
		}
		return allowed
	}
	page := addr &^ (pageSize - 1)
	if s := m.segment(addr); s != nil {
		if a == write && !s.Write || a == execute && !s.Exec {
			return noRight
		}
		rights := vm.Read
		if s.Write {
			rights = vm.Write
		} else if s.Exec {
			rights = vm.Exec
		}
		return m.copyPage(page, s.Address, s.Data, rights)
	}
	switch {
	case addr >= abi.HeapEnd && addr < abi.StackTop-abi.StackSize:
		return overflow
	case addr < m.program.End || addr >= abi.StackTop:
		return noMemory
	case a == execute:
		return noRight
	}
	if m.give(page, vm.Write, vm.ForMemory) == nil {
		return m.short()
	}
	return allowed
}

// short says why the space got no page.
func (m *memory) short() refusal {
	if m.space.Full() {
		return noQuota
	}
	return noFrames
}

// copyPage gives a page with its part of data, which begins at address.
func (m *memory) copyPage(page, address uint64, data []byte, r vm.Rights) refusal {
	p := m.give(page, r, vm.ForImage)
	if p == nil {
		return m.short()
	}
	if page < address {
		copy(p[address-page:], data)
	} else if page-address < uint64(len(data)) {
		copy(p, data[page-address:])
	}
	return allowed
}

// shareData maps read-only memory of the kernel at addr, both page aligned: whole
// pages as they are, and a copy of the last one when it is not whole.
func (m *memory) shareData(addr uint64, data []byte, r vm.Rights) refusal {
	whole := len(data) &^ (pageSize - 1)
	if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%pageSize != 0 {
		whole = 0
	}
	if whole > 0 && !m.space.Share(addr, data[:whole], r) {
		return m.short()
	}
	for at := addr + uint64(whole); at < addr+uint64(len(data)); at += pageSize {
		if why := m.copyPage(at, addr, data, r); why != allowed {
			return why
		}
	}
	return allowed
}

// load shares the program's read-only segments. The others come when touched.
func (m *memory) load() refusal {
	for _, s := range m.program.Segments {
		if s.Write || s.Address%pageSize != 0 || s.End-s.Start != (uint64(len(s.Data))+pageSize-1)&^(pageSize-1) {
			continue
		}
		rights := vm.Read
		if s.Exec {
			rights = vm.Exec
		}
		if why := m.shareData(s.Start, s.Data, rights); why != allowed {
			return why
		}
	}
	return allowed
}

// pages calls f with each part of [addr, addr+n) in a page of the domain's that
// allows the access. It returns false, without having called f, when one does
// not, or is an arena's. The limit on n keeps it short.
func (m *memory) pages(addr, n uint64, a access, f func([]byte)) bool {
	if addr+n < addr {
		return false
	}
	for at := addr &^ (pageSize - 1); at < addr+n; at += pageSize {
		if !inDomain(at) || inArenas(at) || m.space.Page(at, a == write) == nil && m.touch(at, a) != allowed {
			return false
		}
	}
	for n > 0 {
		page := m.space.Page(addr, a == write)
		if page == nil {
			return false
		}
		part := page[addr%pageSize:]
		part = part[:min(uint64(len(part)), n)]
		f(part)
		addr, n = addr+uint64(len(part)), n-uint64(len(part))
	}
	return true
}

func inDomain(addr uint64) bool { return abi.Start <= addr && addr < abi.SharedEnd }

// copyIn fills dst from the domain's memory at addr; false leaves dst as it was.
func (m *memory) copyIn(dst []byte, addr uint64) bool {
	return m.pages(addr, uint64(len(dst)), read, func(part []byte) { dst = dst[copy(dst, part):] })
}

// copyOut copies src to the domain's memory at addr; false has changed nothing.
func (m *memory) copyOut(addr uint64, src []byte) bool {
	return m.pages(addr, uint64(len(src)), write, func(part []byte) { src = src[copy(part, src):] })
}

// word reads a word of the domain's memory for a trace. It gives no page.
func (m *memory) word(addr uint64) (v uint64, ok bool) {
	page := m.space.Page(addr, false)
	if page == nil || addr%8 != 0 || inArenas(addr) {
		return 0, false
	}
	return binary.LittleEndian.Uint64(page[addr%pageSize:]), true
}

// events returns the kernel's view of the event word. The page is the domain's
// for as long as the space is there.
func eventWord(page []byte) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&page[0]))
}
