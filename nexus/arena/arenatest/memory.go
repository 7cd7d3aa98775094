// Package arenatest gives tests arenas as a machine does: memory outside of Go's heap
// that the kernel sees in one piece, and ranges of addresses in which domains see parts
// of it.
package arenatest

import (
	"os"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/arena"
)

// Memory is an arena.Memory: a domain's range of addresses, and the machine's memory
// behind it. It may be used concurrently.
type Memory struct {
	*machine
	t      testing.TB
	domain []byte
}

// machine is the memory of all domains.
type machine struct {
	file   int
	kernel []byte
	mu     sync.Mutex // of what follows
	taken  []bool     // by page
	used   int        // bytes
	live   map[*byte]int
	// Most is how many bytes Alloc gives before it fails.
	Most int
	// Blind has Show fail.
	Blind bool
}

// errFull is an arena.ErrShort.
var errFull error = full{}

type full struct{}

func (full) Error() string        { return "arenatest: the memory is used up" }
func (full) Is(target error) bool { return target == arena.ErrShort }

// New makes a machine with size bytes of memory and a range as large.
func New(t testing.TB, size int) *Memory {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "arena")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	x := &machine{file: int(f.Fd()), taken: make([]bool, size/arena.PageSize), live: map[*byte]int{}, Most: size}
	if x.kernel, err = syscall.Mmap(x.file, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(x.kernel) })
	return (&Memory{machine: x}).Range(t, size)
}

// Range is another domain's range of size bytes in the same machine.
func (m *Memory) Range(t testing.TB, size int) *Memory {
	t.Helper()
	domain, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(domain) })
	return &Memory{m.machine, t, domain}
}

// Alloc implements arena.Memory: it returns the lowest memory that is free.
func (m *machine) Alloc(_ arena.ID, size int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if size <= 0 || size%arena.PageSize != 0 || m.used+size > m.Most {
		return nil, errFull
	}
	n := size / arena.PageSize
	for at, run := 0, 0; at < len(m.taken); at++ {
		if run++; m.taken[at] {
			run = 0
		}
		if run == n {
			first := at + 1 - n
			for i := range n {
				m.taken[first+i] = true
			}
			b := m.kernel[first*arena.PageSize:][:size:size]
			m.live[unsafe.SliceData(b)] = size
			m.used += size
			return b, nil
		}
	}
	return nil, errFull
}

// Free implements arena.Memory. The next owner finds what is in it.
func (m *machine) Free(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live[unsafe.SliceData(b)] != len(b) {
		panic("arenatest: freed what was not allocated")
	}
	delete(m.live, unsafe.SliceData(b))
	m.used -= len(b)
	for i := range len(b) / arena.PageSize {
		m.taken[m.Offset(b)/arena.PageSize+i] = false
	}
}

// Offset is where a segment begins in the machine's memory, in bytes.
func (m *machine) Offset(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(m.kernel))))
}

// Live is how many segments were not freed, and Used how many bytes they have.
func (m *machine) Live() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.live)
}

func (m *machine) Used() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Show implements arena.Memory. Domains may write everywhere.
func (m *Memory) Show(offset int, segment []byte, _ arena.Right) error {
	if m.Blind {
		return errFull
	}
	m.mmap(offset, len(segment), syscall.MAP_SHARED, m.file, m.Offset(segment))
	return nil
}

// Hide implements arena.Memory.
func (m *Memory) Hide(offset, size int) {
	m.mmap(offset, size, syscall.MAP_ANON|syscall.MAP_PRIVATE, -1, 0)
}

// mmap replaces what the domain sees.
func (m *Memory) mmap(offset, size, flags, file, at int) {
	part := m.domain[offset:][:size] // within the range
	addr := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	got, _, errno := syscall.Syscall6(syscall.SYS_MMAP, addr, uintptr(size),
		syscall.PROT_READ|syscall.PROT_WRITE, uintptr(flags|syscall.MAP_FIXED), uintptr(file), uintptr(at))
	if errno != 0 || got != addr {
		panic("arenatest: mmap: " + errno.Error())
	}
}

// Domain is the address of the domain's range.
func (m *Memory) Domain() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m.domain)) }
