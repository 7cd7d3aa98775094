package fib

import (
	"cmp"
	"slices"
)

// This file owns what becomes of lines when prefixes come and go.

// insert gives a prefix a value: in an entry, or behind a node in tr if there are many others with the same key or
// it is too long for one.
func (x *lines) insert(tr *tree, hi, lo uint64, bits int, value uint32) (replaced bool) {
	n := x.node(hi)
	if n == 0 && bits <= 64 {
		at, what := x.entry(hi, bits)
		c := x.read(at)
		i, there := search(c, what)
		if there {
			c[i].value = value
			x.write(at, c)
			return true
		}
		if x.same(c, what) < inline {
			x.put(at, entry{what, value})
			tr.count++
			return false
		}
	}
	if n == 0 {
		n = x.push(tr, hi)
	}
	hi, lo = start(hi, lo, x.keyBits)
	return tr.insertFrom(n, hi, lo, bits-x.keyBits, value)
}

// same is how many entries have the key of another one.
func (x *lines) same(c []entry, what uint64) (n int) {
	for _, e := range c {
		if x.hash(e.what) == x.hash(what) {
			n++
		}
	}
	return n
}

// push puts all prefixes with an address's key behind a node.
func (x *lines) push(tr *tree, hi uint64) (n uint32) {
	n = tr.nodes.take(1)
	at, key := x.entry(hi, x.keyBits)
	c := x.read(at)
	others := c[:0]
	for _, e := range c {
		if x.hash(e.what) != x.hash(key) {
			others = append(others, e)
			continue
		}
		tr.insertFrom(n, e.what>>sizeBits<<x.keyBits, 0, 64-x.keyBits+1-int(size(e.what)), e.value)
		tr.count--
		x.count--
	}
	x.write(at, others)
	x.put(at, entry{key, n})
	return n
}

// remove takes a prefix out. Prefixes that were put behind a node stay there until none is left.
func (x *lines) remove(tr *tree, hi, lo uint64, bits int) bool {
	if n := x.node(hi); n != 0 {
		below, after := start(hi, lo, x.keyBits)
		removed, empty := tr.removeFrom(n, below, after, bits-x.keyBits)
		if empty {
			x.take(x.entry(hi, x.keyBits))
		}
		return removed
	}
	if bits > 64 || !x.take(x.entry(hi, bits)) {
		return false
	}
	tr.count--
	return true
}

// node is the node that all prefixes with an address's key are behind; 0: they are entries.
func (x *lines) node(hi uint64) uint32 {
	n, _ := x.exact(x.entry(hi, x.keyBits))
	return n
}

// put adds an entry that is not there yet.
func (x *lines) put(at uint64, e entry) {
	c := x.read(at)
	i, _ := search(c, e.what)
	x.write(at, slices.Insert(c, i, e))
	x.count++
	if x.count > len(x.all)*fill {
		x.resize(64 - x.shift + 1)
	}
}

// take takes an entry out and says whether it was there.
func (x *lines) take(at, what uint64) bool {
	c := x.read(at)
	i, there := search(c, what)
	if !there {
		return false
	}
	x.write(at, slices.Delete(c, i, i+1))
	x.count--
	if n := 64 - x.shift; n > lineMin && x.count*5 < len(x.all)*fill {
		x.resize(n - 1)
	}
	return true
}

// resize makes as many lines as a number of so many bits has. Entries are in the order of their hashes, so that
// each line is written once.
func (x *lines) resize(bits int) {
	old, more, was := x.all, x.more.all, x.shift
	x.all, x.parts, x.shift = make([]line, 1<<bits), make([]uint16, 1<<bits), 64-bits
	x.more = blocks[line]{}
	x.more.take(1) // 0 is none
	at, c := uint64(0), x.scratch[:0]
	for i := range old {
		first := uint64(i) << was >> (64 - lineMin) << (64 - lineMin) // bits of the hash
		for l := &old[i]; ; l = &more[l.next] {
			for j, what := range l.entries {
				if what == 0 {
					continue
				}
				if to := (first | x.hash(what)>>lineMin) >> x.shift; to != at {
					x.write(at, c)
					at, c = to, c[:0]
				}
				c = append(c, entry{what, l.values[j]})
			}
			if l.next == 0 {
				break
			}
		}
	}
	x.write(at, c)
	x.scratch = c
}

// read are the entries of a line and those behind it.
func (x *lines) read(at uint64) []entry {
	c := x.scratch[:0]
	for l := &x.all[at]; ; l = &x.more.all[l.next] {
		for i, what := range l.entries {
			if what != 0 {
				c = append(c, entry{what, l.values[i]})
			}
		}
		if l.next == 0 {
			x.scratch = c
			return c
		}
	}
}

// write makes entries those of a line and as many as are needed behind it.
func (x *lines) write(at uint64, c []entry) {
	x.parts[at] = 0
	for _, e := range c {
		x.parts[at] |= 1 << (x.hash(e.what) << (64 - lineMin - x.shift) >> (64 - partBits))
	}
	l := &x.all[at]
	for number := uint32(0); ; {
		n := min(len(c), perLine)
		clear(l.entries[:perLine-n])
		clear(l.values[:perLine-n])
		for i, e := range c[:n] {
			l.entries[perLine-n+i], l.values[perLine-n+i] = e.what, e.value
		}
		c = c[n:]
		if len(c) == 0 {
			x.giveFrom(l.next)
			l.next = 0
			return
		}
		next := l.next
		if next == 0 {
			next = x.more.take(1)
			if number != 0 {
				l = &x.more.all[number] // they may have moved
			}
			l.next = next
		}
		number = next
		l = &x.more.all[next]
	}
}

// giveFrom gives back lines from one on.
func (x *lines) giveFrom(number uint32) {
	for number != 0 {
		next := x.more.all[number].next
		x.more.give(number, 1)
		number = next
	}
}

// search is where a prefix belongs among the entries of its line.
func search(c []entry, what uint64) (at int, there bool) {
	return slices.BinarySearchFunc(c, what, func(e entry, what uint64) int { return cmp.Compare(e.what, what) })
}
