package kernel

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/vm"
)

// fault makes the kernel or its driver fail in a way that a test asks for, by the
// shell's hidden command. It returns an error for a way that it does not know.
func (m *machine) fault(how string) error {
	if err, ok := m.cardFault(how); ok {
		return err
	}
	return fault(how)
}

func fault(how string) (err error) {
	switch how {
	case "nil":
		defer func() { err = fmt.Errorf("recovered: %v", recover()) }()
		var p *int
		*p = 1
	case "divide":
		defer func() { err = fmt.Errorf("recovered: %v", recover()) }()
		zero := 0
		return fmt.Errorf("1/0 is %d", 1/zero)
	case "wild":
		*(*byte)(unsafe.Pointer(uintptr(wildAddress))) = 1
	case "canonical":
		*(*byte)(unsafe.Pointer(uintptr(noAddress))) = 1
	case "text":
		f := fault
		*(*byte)(**(**unsafe.Pointer)(unsafe.Pointer(&f))) = 1
	case "alias":
		f := fault
		text := **(**uintptr)(unsafe.Pointer(&f))
		*(*byte)(unsafe.Pointer(layout.DirectMap + text)) = 1
	case "guard":
		*(*byte)(unsafe.Pointer(entry.StackGuard())) = 1
	case "data":
		code := [1]byte{0xc3}
		entry := uintptr(unsafe.Pointer(&code))
		pointer := &entry
		(*(*func())(unsafe.Pointer(&pointer)))()
	case "stack":
		return fmt.Errorf("recursion ended at depth %d", recurse(1))
	case "panic":
		panic("the console asked for a panic")
	case "leak", "charge":
		if !vm.Leak(how == "charge") {
			return errors.New("no frame is left")
		}
		return errors.New("a frame is lost")
	case "loop":
		go func() {
			//lint:ignore SA5002 spinning is what is asked for
			for {
			}
		}()
		return errors.New("a goroutine loops for ever")
	case "delay":
		return fmt.Errorf("worst delay beside a looping goroutine: %d us", worstDelay().Microseconds())
	}
	return errors.New("ways to fail: nil, divide, wild, canonical, text, alias, guard, data, stack, panic, leak, charge, loop, delay, stray, stray-mapped, stray-look, reset-card, hang-card")
}

// worstDelay returns by how much a sleep came late at worst while a goroutine
// without a single function call looped beside it.
func worstDelay() (worst time.Duration) {
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		for !stop.Load() {
		}
		close(done)
	}()
	const sleeps, length = 100, time.Millisecond
	for range sleeps {
		start := time.Now()
		time.Sleep(length)
		worst = max(worst, time.Since(start)-length)
	}
	stop.Store(true)
	<-done
	return worst
}

// wildAddress is not mapped: it lies between the heap and the direct map.
const wildAddress = 0x123456789000

// noAddress is none at all: its upper bits are not all the same.
const noAddress = 1 << 62

// recurse ends by the runtime's limit on stacks.
//
//go:noinline
func recurse(depth int) int {
	if depth < 0 {
		return 0
	}
	var frame [256]byte
	frame[depth%len(frame)] = 1
	return recurse(depth+1) + int(frame[(depth+1)%len(frame)])
}
