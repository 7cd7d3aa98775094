package frames

import "unsafe"

// Owner is for what a frame was handed out. The numbers' meaning is the
// caller's, but for Nobody.
type Owner uint8

const (
	// Nobody owns a frame that was taken without saying for what: a leak.
	Nobody Owner = 0
	// Owners is how many owners there can be.
	Owners = 32
)

// tag returns the owner of the frame of index i, which is below Total. Of a
// free frame it is what it was last.
//
// Safety: carve took a byte for each frame behind the bitmap, mapped as long as
// the kernel runs and no part of the Go heap.
//
//go:nosplit
func (a *Allocator) tag(i uint64) *Owner {
	return (*Owner)(unsafe.Add(unsafe.Pointer(nil), a.tags+uintptr(i)))
}

// Held returns how many frames an owner, below Owners, has.
//
//go:nosplit
func (a *Allocator) Held(o Owner) uint64 { return a.held[o%Owners] }

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
