package acpi

// Methods that do nothing but choose between packages, by what \_PIC was told: it is called
// with 1 when interrupts go by I/O APICs (5.8.1), which is taken to have happened.

import "bytes"

// choiceMax bounds how deep conditions lie, and branches in branches.
const choiceMax = 8

// Opcodes of the methods that are read (20.3).
const (
	opArg0     = 0x68
	opLAnd     = 0x90
	opLOr      = 0x91
	opLNot     = 0x92
	opLEqual   = 0x93
	opLGreater = 0x94
	opLLess    = 0x95
	opReturn   = 0xa4
)

// modes are the names that \_PIC puts its argument into.
func (n *namespace) modes() (names []string) {
	body := n.objects["_PIC"].body
	for {
		_, rest, ok := bytes.Cut(body, []byte{opStore, opArg0})
		if !ok || len(names) == choiceMax {
			return names
		}
		if name, _, ok := nameString(rest); ok && len(name) >= segment {
			names = append(names, name[len(name)-segment:])
		}
		body = rest
	}
}

// choose runs a method that does nothing but return a package, by conditions on modes. done
// says that it returned, or did something else: then o is empty.
func (n *namespace) choose(method object, modes []string, depth int) (o object, done bool) {
	b := method.body
	for len(b) > 0 {
		switch b[0] {
		case opReturn:
			b = b[1:]
			if name, _, ok := nameString(b); ok {
				if _, o, ok := n.lookup(name, method.scope); ok && o.op == opName {
					return o, true
				}
				return object{}, true
			}
			return object{opName, b, method.scope}, true
		case opIf:
			body, end, ok := packaged(b[1:])
			if !ok || depth == choiceMax {
				return object{}, true
			}
			b = b[1+end:]
			value, body, ok := condition(body, modes, 0)
			if !ok {
				return object{}, true
			}
			var other []byte
			if len(b) > 0 && b[0] == opElse {
				if other, end, ok = packaged(b[1:]); !ok {
					return object{}, true
				}
				b = b[1+end:]
			}
			if value == 0 {
				body = other
			}
			if o, done := n.choose(object{opMethod, body, method.scope}, modes, depth+1); done {
				return o, true
			}
		default:
			return object{}, true
		}
	}
	return object{}, false
}

// condition computes an expression of constants and modes.
func condition(b []byte, modes []string, depth int) (v uint64, rest []byte, ok bool) {
	if len(b) == 0 || depth == choiceMax {
		return 0, nil, false
	}
	if v, rest, ok := integer(b); ok {
		return v, rest, true
	}
	if name, rest, ok := nameString(b); ok {
		for _, m := range modes {
			if len(name) >= segment && name[len(name)-segment:] == m {
				return 1, rest, true
			}
		}
		return 0, nil, false
	}
	op := b[0]
	if op < opLAnd || op > opLLess {
		return 0, nil, false
	}
	x, b, ok := condition(b[1:], modes, depth+1)
	if !ok || op == opLNot {
		return truth(x == 0), b, ok
	}
	y, b, ok := condition(b, modes, depth+1)
	switch op {
	case opLAnd:
		v = truth(x != 0 && y != 0)
	case opLOr:
		v = truth(x != 0 || y != 0)
	case opLEqual:
		v = truth(x == y)
	case opLGreater:
		v = truth(x > y)
	default:
		v = truth(x < y)
	}
	return v, b, ok
}

func truth(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}
