// Package fdt reads flattened device trees (Devicetree Specification 0.4, chapter 5): how
// firmware tells an arm64 machine what it has. It runs before there is a heap, so nothing
// here allocates or panics; what does not make sense ends the tree.
package fdt

import (
	"bytes"
	"encoding/binary"
)

const (
	magic = 0xd00dfeed
	// HeaderSize is the length of the header in bytes.
	HeaderSize = 40
	// SizeMax is the longest tree that is read, in bytes.
	SizeMax = 2 << 20
	// depthMax is how deep nodes may lie.
	depthMax = 16
	// nameMax is how much of a property's name is looked at, in bytes (2.2.4.1: 31).
	nameMax = 64

	beginNode = 1
	endNode   = 2
	property  = 3
	nop       = 4

	// What a node's parent has for the lengths of addresses and sizes if it does not say.
	defaultAddressCells = 2
	defaultSizeCells    = 1
)

// Size returns the length of the tree that begins with a header; 0: it is none.
func Size(header []byte) int {
	if len(header) < HeaderSize || binary.BigEndian.Uint32(header) != magic {
		return 0
	}
	n := binary.BigEndian.Uint32(header[4:])
	if n < HeaderSize || n > SizeMax {
		return 0
	}
	return int(n)
}

// Tree is a device tree.
type Tree struct {
	structure, strings, reserved []byte
}

// Open returns the tree in b. ok is false when it is none.
func Open(b []byte) (t Tree, ok bool) {
	n := Size(b)
	if n == 0 || n > len(b) {
		return t, false
	}
	b = b[:n]
	field := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	part := func(from, size uint32) []byte {
		if uint64(from)+uint64(size) > uint64(n) {
			return nil
		}
		return b[from : from+size : from+size]
	}
	t.structure, t.strings = part(field(8), field(36)), part(field(12), field(32))
	if from := field(16); from <= uint32(n) {
		t.reserved = b[from:]
	}
	return t, t.structure != nil && t.strings != nil
}

// Reserved returns entry i of the memory that is not to be used. ok is false behind the
// last one.
func (t *Tree) Reserved(i int) (start, size uint64, ok bool) {
	if i < 0 || i > len(t.reserved)/16-1 {
		return 0, 0, false
	}
	start, size = binary.BigEndian.Uint64(t.reserved[16*i:]), binary.BigEndian.Uint64(t.reserved[16*i+8:])
	return start, size, start != 0 || size != 0
}

// Node is a place in the tree.
type Node struct {
	tree *Tree
	name []byte
	// body is where its properties begin, in the structure block.
	body  int
	depth int
	// cells are the lengths of addresses and sizes, in words of 32 bits, that each node
	// above gives to its children.
	cells [depthMax]struct{ address, size uint8 }
}

// word returns the word at an offset of the structure block.
func (t *Tree) word(at int) (v uint32, ok bool) {
	if at < 0 || at+4 > len(t.structure) {
		return 0, false
	}
	return binary.BigEndian.Uint32(t.structure[at:]), true
}

// Root returns the first node.
func (t *Tree) Root() (n Node, ok bool) {
	n.tree = t
	n.depth = -1
	return n.from(0)
}

// Next returns the node behind n, its first child before its next sibling.
func (n Node) Next() (next Node, ok bool) { return n.from(n.body) }

// from returns the first node that begins at or behind an offset.
func (n Node) from(at int) (Node, bool) {
	for {
		v, ok := n.tree.word(at)
		if !ok {
			return n, false
		}
		at += 4
		switch v {
		case nop:
		case property:
			_, _, end, ok := n.tree.property(at)
			if !ok {
				return n, false
			}
			at = end
		case endNode:
			if n.depth--; n.depth < 0 {
				return n, false
			}
		case beginNode:
			length := bytes.IndexByte(n.tree.structure[at:], 0)
			if length < 0 || n.depth+1 >= depthMax {
				return n, false
			}
			n.depth++
			n.name = n.tree.structure[at : at+length]
			n.body = at + (length+4)&^3
			c := &n.cells[n.depth]
			c.address, c.size = defaultAddressCells, defaultSizeCells
			if v, ok := n.Uint32("#address-cells"); ok && v <= 3 {
				c.address = uint8(v)
			}
			if v, ok := n.Uint32("#size-cells"); ok && v <= 2 {
				c.size = uint8(v)
			}
			return n, true
		default:
			return n, false
		}
	}
}

// property returns the one whose length is at an offset, and where the next item is.
func (t *Tree) property(at int) (name, value []byte, end int, ok bool) {
	length, ok := t.word(at)
	where, ok2 := t.word(at + 4)
	if !ok || !ok2 || uint64(at)+8+uint64(length) > uint64(len(t.structure)) || uint64(where) > uint64(len(t.strings)) {
		return nil, nil, 0, false
	}
	name = t.strings[where:min(uint64(where)+nameMax, uint64(len(t.strings)))]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	at += 8
	return name, t.structure[at : at+int(length)], at + (int(length)+3)&^3, true
}

// Property returns the value of a property; ok is false when the node has none of that name.
func (n *Node) Property(want string) (value []byte, ok bool) {
	for at := n.body; ; {
		v, ok := n.tree.word(at)
		at += 4
		switch {
		case ok && v == nop:
			continue
		case !ok || v != property:
			return nil, false
		}
		name, value, end, ok := n.tree.property(at)
		if !ok {
			return nil, false
		}
		if string(name) == want {
			return value, true
		}
		at = end
	}
}

// Uint32 returns a property of one word.
func (n *Node) Uint32(name string) (v uint32, ok bool) {
	b, ok := n.Property(name)
	if !ok || len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// Has reports whether a property that is a list of texts, such as compatible, has one.
func (n *Node) Has(name, text string) bool {
	b, _ := n.Property(name)
	for len(b) > 0 {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return string(b) == text
		}
		if string(b[:i]) == text {
			return true
		}
		b = b[i+1:]
	}
	return false
}

// Depth is how deep the node lies; the root has 0.
func (n *Node) Depth() int { return n.depth }

// Named reports whether the node's name, without the address behind it, is that.
func (n *Node) Named(name string) bool {
	own, _, _ := bytes.Cut(n.name, []byte{'@'})
	return string(own) == name
}

// Enabled reports whether the node's status is that it can be used.
func (n *Node) Enabled() bool {
	b, ok := n.Property("status")
	return !ok || n.Has("status", "okay") || n.Has("status", "ok") || len(b) == 0
}

// Reg returns range i of the property reg: physical addresses, where the node's bus has none
// of its own.
func (n *Node) Reg(i int) (start, size uint64, ok bool) {
	b, _ := n.Property("reg")
	if n.depth < 1 || i < 0 {
		return 0, 0, false
	}
	c := n.cells[n.depth-1]
	step := 4 * (int(c.address) + int(c.size))
	if step == 0 || i >= len(b)/step {
		return 0, 0, false
	}
	b = b[i*step:]
	return number(b[:4*c.address]), number(b[4*c.address : step]), true
}

// number reads a value of some words; of three the first is left out.
func number(b []byte) (v uint64) {
	for len(b) >= 4 {
		v = v<<32 | uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	return v
}

// Interrupt is a line of Arm's interrupt controller.
type Interrupt struct {
	Number int // as the controller counts
	Edge   bool
}

// interruptCells is how many words name an interrupt.
const interruptCells = 3

// Interrupt returns the one of index i that the node names, for controllers that take
// three words (arm,gic).
func (n *Node) Interrupt(i int) (in Interrupt, ok bool) {
	const step = 4 * interruptCells
	b, _ := n.Property("interrupts")
	if i < 0 || i >= len(b)/step {
		return in, false
	}
	return interrupt(b[step*i : step*(i+1)])
}

// interrupt reads three words.
func interrupt(b []byte) (in Interrupt, ok bool) {
	const (
		shared, private = 0, 1
		sharedFirst     = 32
		privateFirst    = 16
	)
	kind, number, flags := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if number >= 1020 {
		return in, false
	}
	in.Edge = flags&3 != 0
	switch kind {
	case shared:
		in.Number = int(number) + sharedFirst
	case private:
		in.Number = int(number) + privateFirst
	default:
		return in, false
	}
	return in, true
}
