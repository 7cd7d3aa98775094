package frames

import "unsafe"

// Owner is to whom a frame was handed out: a class, below Classes, in the lower bits
// and who of the class in the others. The numbers' meaning is the caller's, but for
// Nobody.
type Owner uint16

const (
	// Nobody owns a frame that was taken without saying for what: a leak.
	Nobody Owner = 0
	// Classes is how many classes there can be.
	Classes = 32

	tagBytes = 2
)

// tag returns the owner of the frame of index i, which is below Total. Of a
// free frame it is what it was last.
//
// Safety: carve took tagBytes for each frame behind the bitmap, whose size is a
// multiple of 8, mapped as long as the kernel runs and no part of the Go heap.
//
//go:nosplit
func (a *Allocator) tag(i uint64) *Owner {
	return (*Owner)(unsafe.Add(unsafe.Pointer(nil), a.tags+uintptr(i)*tagBytes))
}

// Held returns how many frames the owners of a class have.
//
//go:nosplit
func (a *Allocator) Held(class Owner) uint64 { return a.held[class%Classes] }

// Index returns the number of the frame at phys, below Total; ok is false when
// it is none of the allocator's.
func (a *Allocator) Index(phys uint64) (i uint64, ok bool) { return a.index(phys) }

// OwnerAt returns who has the frame of an index below Total; taken is false for
// a free one.
//
//go:nosplit
func (a *Allocator) OwnerAt(i uint64) (o Owner, taken bool) {
	return *a.tag(i), !a.free.has(i)
}
