//go:build amd64 || arm64 || riscv64 || loong64

// This file owns the pages that the unit reads: their memory, and the only way to
// write an entry.

package vtd

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

// entriesPerTable is how many 64-bit words a page holds.
const entriesPerTable = hw.PageSize / 8

// table is one page of 64-bit words that the unit reads, little-endian as the
// processor's own.
type table struct {
	phys  uint64
	words []uint64
	bytes []byte
}

// newTable returns a page of zeros that the unit sees as such.
func (u *Unit) newTable() (table, error) {
	s, err := u.cfg.Tables.Alloc(hw.PageSize)
	if err != nil {
		return table{}, fmt.Errorf("memory for its tables: %w", err)
	}
	p := unsafe.Pointer(unsafe.SliceData(s.Bytes))
	if len(s.Bytes) != hw.PageSize || uintptr(p)%8 != 0 || s.Phys&^addrMask != 0 {
		u.cfg.Tables.Free(s)
		return table{}, fmt.Errorf("page of %d bytes at %#x for its tables: want %d at a multiple of it", len(s.Bytes), s.Phys, hw.PageSize)
	}
	// p points at entriesPerTable*8 bytes, aligned to 8 (checked above), which live
	// as long as any pointer into them; a word holds no Go pointer.
	t := table{s.Phys, unsafe.Slice((*uint64)(p), entriesPerTable), s.Bytes}
	u.flush(t.bytes)
	return t, nil
}

// set writes one word, whole, and lets the unit see it. Both words of an entry of
// two are seen in the order in which they are written.
func (u *Unit) set(t table, i int, v uint64) {
	atomic.StoreUint64(&t.words[i], v)
	u.flush(t.bytes[8*i : 8*i+8])
}

// flush lets a unit see what was written that does not look into caches.
func (u *Unit) flush(b []byte) {
	if !u.cap.Coherent {
		u.cfg.Flush(b)
	}
}
