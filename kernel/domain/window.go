package domain

import (
	"errors"

	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
)

// This file owns the addresses in which a domain sees the arenas of its channels. Where
// no memory is behind them it finds zeros, and may write: see vm.Space.Hole.

// window is where the arena of a channel lies. It implements arena.Memory, and may be
// used by any goroutine.
type window struct {
	space *vm.Space
	base  uint64
}

// windowAt is the window of a channel by its number.
func (m *memory) windowAt(number int) window {
	return window{m.space, abi.ArenaStart + uint64(number)*abi.ArenaStride}
}

var (
	errTables = errors.New("no memory is left for page tables: give the domain more")
	errQuota  = errors.New("the domain's quota is used up: give it more memory")
)

// Alloc implements arena.Memory. The memory counts against the domain's quota.
func (w window) Alloc(id arena.ID, size int) ([]byte, error) {
	b, ok := w.space.Alloc(id, size)
	switch {
	case ok:
		return b, nil
	case w.space.Holds(size):
		return nil, arena.ErrShort
	}
	return nil, errQuota
}

// Free implements arena.Memory.
func (w window) Free(b []byte) { w.space.Free(b) }

// Show implements arena.Memory.
func (w window) Show(offset int, segment []byte, r arena.Right) error {
	if !w.space.Share(w.base+uint64(offset), segment, rightsOf(r)) {
		return errTables
	}
	return nil
}

// Hide implements arena.Memory.
func (w window) Hide(offset, size int) { w.space.Unshare(w.base+uint64(offset), uint64(size)) }

// close takes an arena of size bytes, which is freed, out of the domain's sight.
func (w window) close(size int) { w.space.Unshare(w.base, uint64(size)) }

func rightsOf(r arena.Right) vm.Rights {
	if r == arena.ReadWrite {
		return vm.Write
	}
	return vm.Read
}

// inArenas says whether an address lies where channels have their arenas. What is there
// may be taken at any time, so no system call takes a pointer to it.
func inArenas(addr uint64) bool {
	return addr >= abi.ArenaStart && addr < abi.ArenaStart+abi.ChannelsMax*abi.ArenaStride
}

// touchArena is for a page of an open channel's arena that has no memory.
func (m *memory) touchArena(addr uint64, a access) refusal {
	offset := addr - abi.ArenaStart
	l := m.arenas[offset/abi.ArenaStride]
	if l == nil {
		return noMemory
	}
	right := l.Right(int(offset % abi.ArenaStride))
	switch {
	case right == arena.None:
		return noMemory
	case a == execute, a == write && right != arena.ReadWrite:
		return noRight
	}
	// There may be memory by now.
	if m.space.Page(addr, a == write) == nil && !m.space.Hole(addr, a == write) {
		return m.short()
	}
	return allowed
}
