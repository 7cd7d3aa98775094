package acpi

// Names of AML, found by walking its lists of terms (20.2.5) without running them: devices,
// methods, and names with what they stand for. What a method would define is not found, nor
// what lies in an If outside of one.

import (
	"bytes"
	"strings"
)

// Opcodes of terms (20.3), beside those of aml.go.
const (
	opAlias      = 0x06
	opQWord      = 0x0e
	opString     = 0x0d
	opScope      = 0x10
	opVarPackage = 0x13
	opMethod     = 0x14
	opExternal   = 0x15
	opStore      = 0x70
	opAdd        = 0x72
	opSubtract   = 0x74
	opShiftLeft  = 0x79
	opAnd        = 0x7b
	opOr         = 0x7d
	opField1     = 0x8a // CreateDWordField to CreateQWordField: source, index, name
	opFieldLast  = 0x8f
	opIf         = 0xa0
	opElse       = 0xa1
	opWhile      = 0xa2

	// Behind opExt.
	opMutex       = 0x01
	opEvent       = 0x02
	opCreateField = 0x13
	opRevision    = 0x30
	opRegion      = 0x80
	opField       = 0x81
	opProcessor   = 0x83
	opPower       = 0x84
	opThermal     = 0x85
	opIndexField  = 0x86
	opBankField   = 0x87
	opDataRegion  = 0x88
)

const (
	objectsMax = 1 << 15 // of all tables together
	nestingMax = 16      // of terms in terms
	namesMax   = 4 * 32  // bytes of a path
)

// object is what a name stands for.
type object struct {
	op    byte   // opDevice, opMethod, or opName for data
	body  []byte // a device's terms, a method's, or what begins with the data
	scope string // of the names in it
}

// namespace has objects by their paths: name segments of four bytes each, without anything
// between them.
type namespace struct {
	objects map[string]object
	devices []string // paths, in the order of the tables
	// lost says that there is a _PRT among what was not taken in.
	lost bool
}

// walk takes in the terms of a list. What it does not know ends it, as nobody could tell how
// long that is.
func (n *namespace) walk(aml []byte, scope string, depth int) {
	for len(aml) > 0 && depth < nestingMax && len(scope) <= namesMax && len(n.objects) < objectsMax {
		rest, ok := n.term(aml, scope, depth)
		if !ok {
			break
		}
		aml = rest
	}
	n.leave(aml)
}

// leave notes what is not taken in.
func (n *namespace) leave(aml []byte) { n.lost = n.lost || bytes.Contains(aml, []byte("_PRT")) }

// term takes in the first term of b and returns what follows it.
func (n *namespace) term(b []byte, scope string, depth int) (rest []byte, ok bool) {
	op, b := b[0], b[1:]
	switch op {
	case opScope, opMethod:
		body, end, ok := packaged(b)
		if !ok {
			return nil, false
		}
		name, body, ok := nameString(body)
		if !ok {
			return nil, false
		}
		path := absolute(name, scope)
		if op == opScope {
			if found, _, ok := n.lookup(name, scope); ok {
				path = found
			}
			n.walk(body, path, depth+1)
		} else if len(body) > 0 {
			n.add(path, object{opMethod, body[1:], path})
		}
		return b[end:], true
	case opName:
		name, b, ok := nameString(b)
		if !ok {
			return nil, false
		}
		n.add(absolute(name, scope), object{opName, b, scope})
		return skip(b, depth+1)
	case opAlias:
		rest, ok := skipAll(b, 2, depth)
		if ok {
			n.leave(b[:len(b)-len(rest)])
		}
		return rest, ok
	case opExternal:
		_, b, ok := nameString(b)
		if !ok || len(b) < 2 {
			return nil, false
		}
		return b[2:], true
	case opIf, opElse, opWhile:
		body, end, ok := packaged(b)
		if !ok {
			return nil, false
		}
		n.leave(body)
		return b[end:], true
	case opStore:
		return skipAll(b, 2, depth)
	case opExt:
		return n.extended(b, scope, depth)
	}
	if op >= opField1 && op <= opFieldLast && op != 0x8e {
		return skipAll(b, 3, depth)
	}
	return nil, false
}

// extended is term for what stands behind opExt.
func (n *namespace) extended(b []byte, scope string, depth int) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	op, b := b[0], b[1:]
	switch op {
	case opDevice, opProcessor, opPower, opThermal, opField, opIndexField, opBankField:
		body, end, ok := packaged(b)
		if !ok {
			return nil, false
		}
		if op == opDevice {
			name, body, ok := nameString(body)
			if !ok {
				return nil, false
			}
			path := absolute(name, scope)
			n.add(path, object{opDevice, body, path})
			n.walk(body, path, depth+1)
		}
		return b[end:], true
	case opMutex, opRegion:
		_, b, ok := nameString(b)
		if !ok || len(b) == 0 {
			return nil, false
		}
		if op == opMutex {
			return b[1:], true
		}
		return skipAll(b[1:], 2, depth)
	case opEvent:
		return skipAll(b, 1, depth)
	case opDataRegion, opCreateField:
		return skipAll(b, 4, depth)
	}
	return nil, false
}

// add takes an object in. The first of a name counts (5.2.11.2).
func (n *namespace) add(path string, o object) {
	if _, there := n.objects[path]; there || len(path) > namesMax {
		n.lost = n.lost || !there && strings.HasSuffix(path, "_PRT")
		return
	}
	n.objects[path] = o
	if o.op == opDevice {
		n.devices = append(n.devices, path)
	}
}

// skip returns what follows an argument at the start of b: data, a name that is no method
// with arguments, or arithmetic with such.
func skip(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 || depth > nestingMax {
		return nil, false
	}
	if _, rest, ok := integer(b); ok {
		return rest, true
	}
	if _, rest, ok := nameString(b); ok {
		return rest, true
	}
	op, b := b[0], b[1:]
	switch op {
	case opString:
		end := bytes.IndexByte(b, 0)
		return b[end+1:], end >= 0
	case opBuffer, opPackage, opVarPackage:
		if _, end, ok := packaged(b); ok {
			return b[end:], true
		}
	case opQWord:
		if len(b) >= 8 {
			return b[8:], true
		}
	case opAdd, opSubtract, opShiftLeft, opAnd, opOr:
		return skipAll(b, 3, depth)
	case opExt:
		if len(b) > 0 && b[0] == opRevision {
			return b[1:], true
		}
	}
	return nil, false
}

// skipAll is skip for several arguments.
func skipAll(b []byte, count, depth int) (rest []byte, ok bool) {
	for ok = true; ok && count > 0; count-- {
		b, ok = skip(b, depth+1)
	}
	return b, ok
}
