package fib

import "math/rand/v2"

// This file owns where the nodes of an IPv6 address begin that are behind its first 36 bits. Nearly
// all routes have the same few first bits, so that nodes for those would be steps for nothing.

// keyBits is how many bits of an address are a key.
const keyBits = 36

// index is a hash table with open addressing: an entry is a key with its node in the 28 bits behind; 0:
// none. Its hash has a number that strangers do not know, who could make all routes collide.
type index struct {
	entries []uint64
	count   int
	shift   int // 64 less the bits of an entry's number
	odd     uint64
}

const (
	nodeBits = 64 - keyBits
	nodeMask = 1<<nodeBits - 1
	indexMin = 6 // bits
)

func (x *index) init() {
	x.odd = rand.Uint64() | 1
	x.resize(indexMin)
}

// home is where a key's entry is looked for first.
func (x *index) home(key uint64) uint64 { return key * x.odd >> x.shift }

// get is a key's node; 0: it has none.
func (x *index) get(key uint64) uint32 {
	mask := uint64(len(x.entries) - 1)
	for i := x.home(key); ; i = (i + 1) & mask {
		switch e := x.entries[i&mask]; {
		case e == 0:
			return 0
		case e>>nodeBits == key:
			return uint32(e & nodeMask)
		}
	}
}

// put gives a key that has none a node.
func (x *index) put(key uint64, n uint32) {
	if x.count*2 >= len(x.entries) {
		x.resize(64 - x.shift + 1)
	}
	x.count++
	x.write(key<<nodeBits | uint64(n))
}

func (x *index) write(e uint64) {
	mask := uint64(len(x.entries) - 1)
	i := x.home(e >> nodeBits)
	for x.entries[i] != 0 {
		i = (i + 1) & mask
	}
	x.entries[i] = e
}

// remove takes a key that is there out, and moves those up that were put behind it.
func (x *index) remove(key uint64) {
	mask := uint64(len(x.entries) - 1)
	gap := x.home(key)
	for x.entries[gap]>>nodeBits != key {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; x.entries[i] != 0; i = (i + 1) & mask {
		if home := x.home(x.entries[i] >> nodeBits); (i-home)&mask >= (i-gap)&mask {
			x.entries[gap] = x.entries[i]
			gap = i
		}
	}
	x.entries[gap] = 0
	x.count--
	if n := 64 - x.shift; n > indexMin && x.count*8 < len(x.entries) {
		x.resize(n - 1)
	}
}

func (x *index) resize(bits int) {
	old := x.entries
	x.entries, x.shift = make([]uint64, 1<<bits), 64-bits
	for _, e := range old {
		if e != 0 {
			x.write(e)
		}
	}
}
