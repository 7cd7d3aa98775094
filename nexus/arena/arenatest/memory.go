// Package arenatest gives tests an arena in memory that is mapped twice, outside
// of Go's heap: the kernel's view in segments, and the domain's in one piece.
package arenatest

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/arena"
)

// Memory is an arena.Memory whose segments lie behind each other. When all are freed it
// is as it was made.
type Memory struct {
	kernel, domain []byte
	used           int
	live           map[*byte]int
	// Most is how many bytes Alloc gives before it fails.
	Most int
}

var errFull = errors.New("arenatest: the memory is used up")

// New maps room for size bytes.
func New(t testing.TB, size int) *Memory {
	t.Helper()
	dir := t.TempDir()
	f, err := os.CreateTemp(dir, "arena")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	m := &Memory{live: map[*byte]int{}, Most: size}
	for _, view := range []*[]byte{&m.kernel, &m.domain} {
		b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Munmap(b) })
		*view = b
	}
	return m
}

// Alloc implements arena.Memory.
func (m *Memory) Alloc(size int) ([]byte, error) {
	if size <= 0 || size%arena.PageSize != 0 || m.used+size > min(m.Most, len(m.kernel)) {
		return nil, errFull
	}
	b := m.kernel[m.used : m.used+size : m.used+size]
	m.used += size
	m.live[unsafe.SliceData(b)] = size
	return b, nil
}

// Free implements arena.Memory.
func (m *Memory) Free(b []byte) {
	if m.live[unsafe.SliceData(b)] != len(b) {
		panic("arenatest: freed what was not allocated")
	}
	delete(m.live, unsafe.SliceData(b))
	if len(m.live) == 0 {
		clear(m.kernel[:m.used])
		m.used = 0
	}
}

// Live is how many segments were not freed.
func (m *Memory) Live() int { return len(m.live) }

// Domain is the address of the domain's view.
func (m *Memory) Domain() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m.domain)) }
