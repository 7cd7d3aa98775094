package fib

import "unsafe"

// This file owns memory: blocks of things that lie side by side in one array, so that a number of
// 32 bits names one and the garbage collector has nothing to look at.

// blockMax is the longest block: a node has 62 short prefixes and 64 full ones at most.
const blockMax = 126

type blocks[T any] struct {
	all []T
	// free are the blocks that were given back, by length.
	free [blockMax + 1][]uint32
	idle int // things in free blocks
}

// take makes a block of n zeros.
func (b *blocks[T]) take(n int) uint32 {
	if f := b.free[n]; len(f) > 0 {
		at := f[len(f)-1]
		b.free[n] = f[:len(f)-1]
		b.idle -= n
		return at
	}
	at := len(b.all)
	var zero T
	for range n {
		b.all = append(b.all, zero)
	}
	return uint32(at)
}

// give takes a block back.
func (b *blocks[T]) give(at uint32, n int) {
	clear(b.all[at : int(at)+n])
	b.free[n] = append(b.free[n], at)
	b.idle += n
}

// grow puts a zero into a block of n, so many from its first on, and returns where the block is now.
func (b *blocks[T]) grow(at uint32, n, place int) uint32 {
	to := b.take(n + 1)
	if n > 0 {
		copy(b.all[to:], b.all[at:int(at)+place])
		copy(b.all[int(to)+place+1:int(to)+n+1], b.all[int(at)+place:int(at)+n])
		b.give(at, n)
	}
	return to
}

// shrink takes one out of a block of n, and returns where the block is now; 0 of an empty one.
func (b *blocks[T]) shrink(at uint32, n, place int) uint32 {
	var to uint32
	if n > 1 {
		to = b.take(n - 1)
		copy(b.all[to:], b.all[at:int(at)+place])
		copy(b.all[int(to)+place:int(to)+n-1], b.all[int(at)+place+1:int(at)+n])
	}
	b.give(at, n)
	return to
}

func (b *blocks[T]) memory() int {
	var one T
	n := cap(b.all) * int(unsafe.Sizeof(one))
	for _, f := range b.free {
		n += cap(f) * 4
	}
	return n
}
