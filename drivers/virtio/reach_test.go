package virtio

import (
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

// slots is a device that has queues of one size.
type slots struct {
	Transport
	size int
}

func (s slots) QueueMax(int) int { return s.size }

// heap hands out Go memory with a page boundary at its start.
type heap struct{}

func (heap) Alloc(size int) (hw.Segment, error) {
	size = (size + hw.PageSize - 1) &^ (hw.PageSize - 1)
	b := make([]byte, size+hw.PageSize)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % hw.PageSize)
	return hw.Segment{Bytes: b[skip : skip+size], Phys: 1 << 30}, nil
}

func (heap) Free(hw.Segment) {}

// TestRecordsOutOfReach: what the queue decides by lies outside of all that the
// device was given, the rings and tables inside.
func TestRecordsOutOfReach(t *testing.T) {
	mem := hw.NewDMA(heap{}, hw.Identity{})
	q, err := NewQueue(slots{size: 256}, 0, FeatureVersion1|FeatureIndirect, mem, 256, 2)
	if err != nil {
		t.Fatal(err)
	}
	reach := func(p unsafe.Pointer, n uintptr) (found bool) {
		mem.Each(func(m hw.Memory, _ hw.Direction) {
			start := uintptr(unsafe.Pointer(&m.Bytes[0]))
			found = found || uintptr(p) < start+uintptr(len(m.Bytes)) && start < uintptr(p)+n
		})
		return found
	}
	for _, c := range []struct {
		name string
		p    unsafe.Pointer
		n    uintptr
		want bool
	}{
		{"queue", unsafe.Pointer(q), unsafe.Sizeof(*q), false},
		{"free list", unsafe.Pointer(&q.next[0]), 2 * uintptr(cap(q.next)), false},
		{"chains in flight", unsafe.Pointer(&q.chains[0]), uintptr(cap(q.chains)) * unsafe.Sizeof(q.chains[0]), false},
		{"descriptors", unsafe.Pointer(&q.desc[0]), 1, true},
		{"available ring", unsafe.Pointer(q.availHead), 4, true},
		{"used ring", unsafe.Pointer(q.usedHead), 4, true},
		{"indirect tables", unsafe.Pointer(&q.indirect.Bytes[0]), 1, true},
	} {
		if got := reach(c.p, c.n); got != c.want {
			t.Errorf("%s: in the device's reach %t, want %t", c.name, got, c.want)
		}
	}
}
