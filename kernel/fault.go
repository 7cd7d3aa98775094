package kernel

import (
	"errors"
	"fmt"
	"unsafe"
)

// fault makes the kernel fail in a way that a test asks for, by the shell's
// hidden command. It returns an error for a way that it does not know.
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
	case "text":
		f := fault
		*(*byte)(**(**unsafe.Pointer)(unsafe.Pointer(&f))) = 1
	case "data":
		code := [1]byte{0xc3}
		entry := uintptr(unsafe.Pointer(&code))
		pointer := &entry
		(*(*func())(unsafe.Pointer(&pointer)))()
	case "stack":
		return fmt.Errorf("recursion ended at depth %d", recurse(1))
	case "panic":
		panic("the console asked for a panic")
	case "loop":
		go func() {
			for {
			}
		}()
		return nil
	}
	return errors.New("ways to fail: nil, divide, wild, text, data, stack, panic, loop")
}

// wildAddress is not mapped: it lies between the heap and the direct map.
const wildAddress = 0x123456789000

//go:noinline
func recurse(depth int) int {
	var frame [256]byte
	frame[depth%len(frame)] = 1
	return recurse(depth+1) + int(frame[(depth+1)%len(frame)])
}
