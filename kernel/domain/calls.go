package domain

import (
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/nexus/abi"
)

// result is how a refusal looks in AX.
func result(e abi.Errno) uint64 { return uint64(e) }

// call answers a system call. What it returns in AX is set here; the other
// registers are the domain's as they were.
func (d *Domain) call() *Exit {
	u := d.user
	switch u.AX {
	case abi.SysExit:
		return d.exited(int(int32(u.DI)))
	case abi.SysWrite:
		u.AX = d.write(u.DI, u.SI)
	case abi.SysWait:
		u.AX = d.wait(u.DI, u.SI)
	case abi.SysNotify:
		return d.notify(u.DI)
	case abi.SysRelease:
		u.AX = d.release(u.DI, u.SI)
	case abi.SysControl:
		u.AX = d.control(u.DI, u.SI, u.DX)
	case abi.SysUpcall:
		if d.memory.touch(u.DI, execute) != allowed || !inDomain(u.SI-8) || u.SI%16 != 0 {
			u.AX = result(abi.BadAddress)
			break
		}
		d.upcallEntry, d.upcallStack = u.DI, u.SI
		u.AX = 0
	case abi.SysResume:
		return d.resume(u.DI, u.SI)
	case abi.SysReturn:
		d.returnTo(u.DI)
	case abi.SysSetFS:
		if u.DI != archSetFS || !inDomain(u.SI) {
			u.AX = result(abi.BadArgument)
			break
		}
		u.FS, u.AX = u.SI, 0
	default:
		u.AX = result(abi.BadCall)
	}
	return nil
}

// returnTo is SysReturn. What the registers may be is checked like that of any
// trap, by checkState.
func (d *Domain) returnTo(addr uint64) {
	var c abi.Context
	if !d.memory.copyIn(unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c)), addr) {
		d.user.AX = result(abi.BadAddress)
		return
	}
	f := &d.user.Frame
	f.AX, f.BX, f.CX, f.DX, f.SI, f.DI, f.BP = c.AX, c.BX, c.CX, c.DX, c.SI, c.DI, c.BP
	f.R8, f.R9, f.R10, f.R11, f.R12, f.R13, f.R14, f.R15 = c.R8, c.R9, c.R10, c.R11, c.R12, c.R13, c.R14, c.R15
	f.IP, f.Flags, f.SP = c.IP, c.Flags, c.SP
}

// archSetFS is Linux' ARCH_SET_FS.
const archSetFS = 0x1002

// exited is how a domain ends by itself.
func (d *Domain) exited(status int) *Exit {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked {
		return &Exit{Reason: Stopped, Status: status}
	}
	return &Exit{Reason: Exited, Status: status}
}

// write is SysWrite.
func (d *Domain) write(addr, n uint64) uint64 {
	if n > abi.WriteMax {
		return result(abi.BadArgument)
	}
	var buf [abi.WriteMax]byte
	if !d.memory.copyIn(buf[:n], addr) {
		return result(abi.BadAddress)
	}
	if delay := d.out.reserve(int(n), clock.Since()); delay > 0 {
		d.sleep(clock.Nanotime()+int64(delay), 0)
	}
	if n <= writeShort {
		d.out.write(buf[:n])
		return n
	}
	// A serial port takes its time: others run meanwhile.
	d.turn.Release()
	d.out.write(buf[:n])
	d.turn.Acquire()
	return n
}

// writeShort is how many bytes a domain may write without giving up its turn.
const writeShort = 256

// wait is SysWait.
func (d *Domain) wait(until, mask uint64) uint64 {
	if until > abi.WaitForever {
		return result(abi.BadArgument)
	}
	return d.sleep(int64(until), mask)
}

// sleep gives the token up until a time or one of the events in mask. A domain
// that must end wakes too.
func (d *Domain) sleep(until int64, mask uint64) uint64 {
	events := d.events.Load() & mask
	left := until - clock.Nanotime()
	if events != 0 {
		return events
	}
	if left <= 0 {
		d.turn.Yield()
		return d.events.Load() & mask
	}
	// Who was given time by the wait may have what is waited for.
	woken := func() bool { return d.events.Load()&mask != 0 || d.doomed() }
	if d.turn.Rest(woken) {
		for !woken() && d.park(until) {
		}
		d.turn.Acquire()
	}
	d.pendingUpcall.Store(0) // its scheduler looks when the call returns
	return d.events.Load() & mask
}

// park waits until the domain is woken, which may be for nothing, or until a time. It reports
// false when that has come.
func (d *Domain) park(until int64) bool {
	if until != abi.WaitForever {
		d.alarm.Set(until)
	}
	select {
	case <-d.wake:
		return true
	case <-d.alarm.C:
		return !d.alarm.Rang(until)
	}
}

// release is SysRelease.
func (d *Domain) release(addr, n uint64) uint64 {
	if addr%pageSize != 0 || n%pageSize != 0 {
		return result(abi.BadArgument)
	}
	if addr+n < addr || addr < d.memory.program.End || addr+n > abi.HeapEnd {
		return result(abi.BadAddress)
	}
	d.memory.space.Release(addr, n)
	return 0
}

// control is SysControl.
func (d *Domain) control(request, addr, n uint64) uint64 {
	if n > abi.ControlMax {
		return result(abi.BadArgument)
	}
	var buf [abi.ControlMax]byte
	switch request {
	case abi.ControlRandom:
		if _, err := d.env.Random(buf[:n]); err != nil {
			return result(abi.NotNow)
		}
		if !d.memory.copyOut(addr, buf[:n]) {
			return result(abi.BadAddress)
		}
		return n
	case abi.ControlRead:
		// Nothing is taken from the input before the memory is known to be good.
		if !d.memory.pages(addr, n, write, func([]byte) {}) {
			return result(abi.BadAddress)
		}
		got, end := d.in.read(buf[:n])
		if end {
			return result(abi.EndOfInput)
		}
		d.memory.copyOut(addr, buf[:got])
		return uint64(got)
	}
	return d.network(request, addr, n)
}

// network answers the requests about channels and flows.
func (d *Domain) network(request, addr, n uint64) uint64 {
	switch request {
	case abi.ControlOpen:
		return exchange(d, addr, n, d.openChannel)
	case abi.ControlClose:
		return exchange(d, addr, n, func(r *abi.OpenRequest) uint64 { return d.closeChannel(r.Channel) })
	case abi.ControlFlow:
		return exchange(d, addr, n, d.flow)
	case abi.ControlBranch:
		return exchange(d, addr, n, d.branch)
	case abi.ControlResize:
		return exchange(d, addr, n, d.resize)
	case abi.ControlStats:
		return d.readStats(addr, n)
	case abi.ControlPipes:
		return d.pipeNames(addr, n)
	case abi.ControlReopen:
		return exchange(d, addr, n, d.reopenChannel)
	}
	return result(abi.BadArgument)
}

func (d *Domain) String() string { return fmt.Sprintf("domain %s", d.name) }
