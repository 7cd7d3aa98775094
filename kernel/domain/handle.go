package domain

import (
	"fmt"

	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/nexus/abi"
)

// Exceptions (SDM volume 3, table 7-1).
const (
	vectorDivide     = 0
	vectorDebug      = 1
	vectorBreakpoint = 3
	vectorOverflow   = 4
	vectorOpcode     = 6
	vectorNoSegment  = 11
	vectorStack      = 12
	vectorProtection = 13
	vectorPage       = 14
	vectorX87        = 16
	vectorAlignment  = 17
	vectorSIMD       = 19

	// Bits of a page fault's error code.
	codePresent = 1 << 0
	codeWrite   = 1 << 1
	codeFetch   = 1 << 4
)

// handle answers the trap that ended Enter. It returns how the domain ends, if
// it does.
func (d *Domain) handle() *Exit {
	u := d.user
	switch v := u.Vector; {
	case v == trap.VectorSyscall:
		if e := d.call(); e != nil {
			return e
		}
	case v == trap.VectorNone:
		d.turn.Yield()
		return nil
	case v >= trap.FirstVector:
		if v == trap.FirstVector+trap.EventTick {
			d.request(abi.UpcallTick)
		}
		d.turn.Yield()
	case v == vectorPage:
		if e := d.pageFault(); e != nil {
			return d.faulted(e)
		}
	default:
		return d.faulted(d.exception())
	}
	return d.checkState()
}

// checkState ends the domain when IRETQ cannot go back to it.
func (d *Domain) checkState() *Exit {
	u := d.user
	if !inDomain(u.IP) {
		return d.exit(BadMemory, fmt.Sprintf("execution at %#x", u.IP))
	}
	if u.SP&(1<<63) != 0 || u.SP > abi.SharedEnd {
		return d.exit(Misuse, fmt.Sprintf("stack pointer %#x", u.SP))
	}
	u.Check()
	return nil
}

// pageFault gives the page or says why not.
func (d *Domain) pageFault() *Exit {
	u := d.user
	a := read
	if u.Code&codeFetch != 0 {
		a = execute
	} else if u.Code&codeWrite != 0 {
		a = write
	}
	why := noMemory
	if inDomain(u.Addr) {
		why = d.memory.touch(u.Addr, a)
	}
	switch why {
	case allowed:
		if u.Code&codePresent == 0 || inArenas(u.Addr) {
			return nil
		}
		// The page was there with every right: giving it again would fault
		// again, for ever.
	case noQuota:
		return d.exit(OverQuota, fmt.Sprintf("%d KiB are used up", d.memory.space.Quota()>>10))
	case noFrames:
		return d.exit(NoMemory, fmt.Sprintf("%s: it has %d KiB", why, d.memory.space.Used()>>10))
	case overflow:
		return d.exit(Overflow, fmt.Sprintf("%v at %#x", a, u.Addr))
	}
	return d.exit(BadMemory, fmt.Sprintf("%v at %#x: %s", a, u.Addr, why))
}

// exception says what an exception other than a page fault ends the domain for.
func (d *Domain) exception() *Exit {
	u := d.user
	reason := Privileged
	switch u.Vector {
	case vectorDivide, vectorX87, vectorSIMD, vectorOverflow:
		reason = Arithmetic
	case vectorDebug, vectorBreakpoint:
		reason = Debug
	case vectorOpcode:
		reason = BadCode
	case vectorStack, vectorAlignment, vectorNoSegment:
		reason = BadMemory
	}
	return d.exit(reason, fmt.Sprintf("%s, code %#x", trap.Name(u.Vector), u.Code))
}

// nilPage bounds the addresses whose faults are nil dereferences.
const nilPage = 4096

// faulted offers a fault that Go knows how to recover from to the domain's
// runtime, as an upcall; all others end it.
func (d *Domain) faulted(e *Exit) *Exit {
	u := d.user
	nilDereference := u.Vector == vectorPage && u.Addr < nilPage
	if d.upcallEntry == 0 || d.inUpcall || !nilDereference && u.Vector != vectorDivide {
		return e
	}
	d.fault = e
	vector, addr := u.Vector, u.Addr
	d.enterUpcall(abi.UpcallFault)
	u.R8, u.R9 = vector, addr
	return d.checkState()
}

// exit describes the end of the domain where it stands now. Which calls led there is
// found out when it does end: that takes time and memory, and it may be able to go
// on.
func (d *Domain) exit(r Reason, detail string) *Exit {
	return &Exit{Reason: r, Detail: detail, traced: true}
}
