package posix

import (
	"syscall"
	"unsafe"
)

const (
	firstPage = 4096
	maxPath   = 4096       // with the NUL
	maxRW     = 0x7ffff000 // what Linux moves in one call
)

// args are the arguments of a call.
type args [6]uintptr

// int returns argument i as the C type int.
func (a args) int(i int) int { return int(int32(a[i])) }

// pointer turns an address into a pointer. It is the only place where that is
// done; see the package comment for why it may be.
func pointer(addr uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&addr))
}

// memory returns n bytes at an address.
func memory(addr, n uintptr) ([]byte, syscall.Errno) {
	switch {
	case int(n) < 0:
		return nil, syscall.EINVAL
	case n == 0:
		return nil, 0
	case addr < firstPage:
		return nil, syscall.EFAULT
	}
	return unsafe.Slice((*byte)(pointer(addr)), n), 0
}

// array returns n values at an address.
func array[T any](addr uintptr, n int) ([]T, syscall.Errno) {
	if addr < firstPage {
		return nil, syscall.EFAULT
	}
	return unsafe.Slice((*T)(pointer(addr)), n), 0
}

// put writes a value to an address.
func put[T any](addr uintptr, v T) syscall.Errno {
	if addr < firstPage {
		return syscall.EFAULT
	}
	*(*T)(pointer(addr)) = v
	return 0
}

// path copies a path that ends in a NUL. Of one that is too long it copies so
// much that the file system refuses it, in the order in which Linux looks at
// paths.
func path(addr uintptr) (string, syscall.Errno) {
	if addr < firstPage {
		return "", syscall.EFAULT
	}
	start := pointer(addr)
	for n := range maxPath {
		if *(*byte)(unsafe.Add(start, n)) == 0 {
			return string(unsafe.Slice((*byte)(start), n)), 0
		}
	}
	return string(unsafe.Slice((*byte)(start), maxPath)), 0
}
