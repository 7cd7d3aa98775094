// Package pool keeps account of a channel's packets and buflets: which are free,
// which the kernel has, and which are lent to the domain. The account lies
// outside of shared memory and knows objects by their index, so nothing that a
// domain writes can change it.
package pool

import "errors"

// ErrNotLent says that the domain returns what it does not have.
var ErrNotLent = errors.New("pool: not lent")

// Loan is what an object was lent for.
type Loan uint8

const (
	// Empty is an object for the domain to fill.
	Empty Loan = 1 + iota
	// Arrived is one with data that has arrived.
	Arrived
	loans
)

// Objects is a set of equal objects with indexes from a first one on.
type Objects struct {
	first uint32
	free  []uint32 // a stack
	lent  []Loan   // to the domain; 0: not
	out   [loans]int
}

// NewObjects makes a set of n objects, all free.
func NewObjects(first, n int) *Objects {
	o := &Objects{first: uint32(first), free: make([]uint32, n), lent: make([]Loan, n)}
	for i := range o.free {
		o.free[i] = uint32(first + n - 1 - i) // the first is taken first
	}
	return o
}

// Count is how many objects there are, Free how many nobody has, and Lent how
// many the domain has, of a kind or in all.
func (o *Objects) Count() int        { return len(o.lent) }
func (o *Objects) Free() int         { return len(o.free) }
func (o *Objects) Lent(why Loan) int { return o.out[why] }
func (o *Objects) AllLent() int      { return o.out[Empty] + o.out[Arrived] }

// Take takes a free object for the kernel; false when there is none.
func (o *Objects) Take() (uint32, bool) {
	n := len(o.free)
	if n == 0 {
		return 0, false
	}
	i := o.free[n-1]
	o.free = o.free[:n-1]
	return i, true
}

// Put gives back an object that was taken and is not lent.
func (o *Objects) Put(i uint32) { o.free = append(o.free, i) }

// Lend gives an object that was taken to the domain.
func (o *Objects) Lend(i uint32, why Loan) {
	o.lent[i-o.first] = why
	o.out[why]++
}

// Has says whether i is one of the objects.
func (o *Objects) Has(i uint32) bool { return i-o.first < uint32(len(o.lent)) }

// Return takes an object back from the domain, which names it: any number. With
// ErrNotLent nothing has changed.
func (o *Objects) Return(i uint32) error {
	if !o.Has(i) || o.lent[i-o.first] == 0 {
		return ErrNotLent
	}
	o.out[o.lent[i-o.first]]--
	o.lent[i-o.first] = 0
	return nil
}
