package acpi

// Names of AML (20.2.2), and what they refer to (5.3).

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Prefixes of names (20.2.2).
const (
	nameRoot   = '\\'
	nameParent = '^'
	nameDual   = 0x2e
	nameMulti  = 0x2f
	segment    = 4
)

// nameString reads a name at the start of b: its prefixes and segments.
func nameString(b []byte) (name string, rest []byte, ok bool) {
	at := 0
	if len(b) > 0 && b[0] == nameRoot {
		at++
	} else {
		for at < len(b) && b[at] == nameParent {
			at++
		}
	}
	prefix := string(b[:at])
	if at == len(b) || at > nestingMax {
		return "", nil, false
	}
	count, b := 1, b[at:]
	switch {
	case b[0] == 0 && at > 0: // the root, or a parent
		return prefix, b[1:], true
	case b[0] == nameDual:
		count, b = 2, b[1:]
	case b[0] == nameMulti && len(b) > 1:
		count, b = int(b[1]), b[2:]
	}
	if count == 0 || len(b) < segment*count {
		return "", nil, false
	}
	for i, c := range b[:segment*count] {
		if !(c >= 'A' && c <= 'Z' || c == '_' || i%segment > 0 && c >= '0' && c <= '9') {
			return "", nil, false
		}
	}
	return prefix + string(b[:segment*count]), b[segment*count:], true
}

// absolute is the path of a name that is defined in scope.
func absolute(name, scope string) string {
	if strings.HasPrefix(name, `\`) {
		return name[1:]
	}
	for ; strings.HasPrefix(name, "^"); name = name[1:] {
		scope = scope[:max(len(scope)-segment, 0)]
	}
	return scope + name
}

// lookup finds what a name in scope refers to: one of a single segment is searched for
// towards the root (5.3).
func (n *namespace) lookup(name, scope string) (path string, o object, ok bool) {
	path = absolute(name, scope)
	o, ok = n.objects[path]
	for len(name) == segment && !ok && len(scope) > 0 {
		scope = scope[:len(scope)-segment]
		path = scope + name
		o, ok = n.objects[path]
	}
	return path, o, ok
}

// constant is the integer that a name in a device stands for.
func (n *namespace) constant(path string) (v uint64, ok bool) {
	o, ok := n.objects[path]
	if !ok || o.op != opName {
		return 0, false
	}
	v, _, ok = integer(o.body)
	return v, ok
}

// is reports whether a device has one of the identifiers, as EISA numbers or text.
func (n *namespace) is(device string, ids ...uint32) bool {
	for _, key := range []string{"_HID", "_CID"} {
		o, ok := n.objects[device+key]
		if !ok || o.op != opName {
			continue
		}
		if v, ok := n.constant(device + key); ok && v <= 1<<32-1 && slices.Contains(ids, uint32(v)) {
			return true
		}
		if len(o.body) > 8 && o.body[0] == opString && slices.Contains(ids, eisa(o.body[1:])) {
			return true
		}
	}
	return false
}

// eisa compresses an identifier such as PNP0A08 (19.6.34); 0 for none.
func eisa(text []byte) (id uint32) {
	if len(text) < 7 {
		return 0
	}
	for _, c := range text[:3] {
		id = id<<5 | uint32(c-0x40)&0x1f
	}
	for _, c := range text[3:7] {
		digit := strings.IndexByte("0123456789ABCDEF", c)
		if digit < 0 {
			return 0
		}
		id = id<<4 | uint32(digit)
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], id)
	return binary.LittleEndian.Uint32(b[:])
}
