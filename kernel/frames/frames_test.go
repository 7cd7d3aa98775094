package frames

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/bootinfo"
)

// memoryMap makes a map by way of a start info, as the kernel gets it.
func memoryMap(t testing.TB, ranges ...bootinfo.Range) *bootinfo.MemoryMap {
	t.Helper()
	b := make([]byte, 56+24*len(ranges))
	le := binary.LittleEndian
	le.PutUint32(b, 0x336ec578)
	le.PutUint32(b[4:], 1)
	le.PutUint64(b[40:], 56)
	le.PutUint32(b[48:], uint32(len(ranges)))
	for i, r := range ranges {
		le.PutUint64(b[56+24*i:], r.Start)
		le.PutUint64(b[64+24*i:], r.End-r.Start)
		le.PutUint32(b[72+24*i:], uint32(r.Type))
	}
	info := new(bootinfo.Info)
	if p := bootinfo.Parse(info, 0, func(phys uint64, n int) []byte {
		if phys+uint64(n) > uint64(len(b)) {
			return nil
		}
		return b[phys:][:n]
	}); p != "" {
		t.Fatal(p)
	}
	return &info.Memory
}

// newAllocator gives an allocator whose bitmaps lie in memory of the test: the
// first RAM above First must be at First.
func newAllocator(t testing.TB, reserved []Range, ranges ...bootinfo.Range) *Allocator {
	t.Helper()
	m := memoryMap(t, ranges...)
	memory := make([]uint64, 1<<20)
	t.Cleanup(func() { memory[0] = 0 }) // keeps it alive
	a := &Allocator{Base: uintptr(unsafe.Pointer(&memory[0])) - First}
	if !a.Init(m, reserved) {
		t.Fatal("no room for the bitmaps")
	}
	return a
}

const mib = 1 << 20

func TestEveryFrameOnceAndNoHole(t *testing.T) {
	for _, c := range []struct {
		name     string
		reserved []Range
		ranges   []bootinfo.Range
		total    uint64
	}{
		{"64 MiB", nil, []bootinfo.Range{{Start: 0, End: 64 * mib, Type: bootinfo.RAM}}, 62*256 - 1},
		{"an image", []Range{{10 * mib, 12*mib + 1}}, []bootinfo.Range{{Start: 0, End: 64 * mib, Type: bootinfo.RAM}}, 60*256 - 2},
		{"holes", nil, []bootinfo.Range{
			{Start: 2 * mib, End: 3 * mib, Type: bootinfo.RAM}, {Start: 3 * mib, End: 3*mib + Size, Type: bootinfo.NVS},
			{Start: 5 * mib, End: 6 * mib, Type: bootinfo.RAM}, {Start: 4 << 30, End: 4<<30 + mib, Type: bootinfo.RAM},
		}, 3*256 - 65},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAllocator(t, c.reserved, c.ranges...)
			if got := a.Counts(); got.Total != c.total || got.Free != c.total {
				t.Fatalf("%d frames, %d free, want %d", got.Total, got.Free, c.total)
			}
			seen := map[uint64]bool{}
			for {
				p, ok := a.Alloc()
				if !ok {
					break
				}
				inside := false
				for _, r := range c.ranges {
					inside = inside || r.Type == bootinfo.RAM && r.Start <= p && p+Size <= r.End
				}
				if !inside || seen[p] || p < First || within(c.reserved, p) || p%Size != 0 {
					t.Fatalf("frame %#x must not be handed out", p)
				}
				seen[p] = true
			}
			if uint64(len(seen)) != c.total || a.Counts().Free != 0 || a.Counts().Peak != c.total {
				t.Errorf("%d frames came out, counts %+v", len(seen), a.Counts())
			}
			for p := range seen {
				if !a.Free(p) {
					t.Fatalf("frame %#x is not taken back", p)
				}
			}
			if a.Counts().Free != c.total || a.Counts().BadFree != 0 {
				t.Errorf("counts %+v", a.Counts())
			}
		})
	}
}

func TestBadFreesAreCounted(t *testing.T) {
	a := newAllocator(t, nil, bootinfo.Range{Start: 0, End: 16 * mib, Type: bootinfo.RAM})
	p, _ := a.Alloc()
	for i, bad := range []uint64{p + 1, p + Size, 0, First, 1 << 40, ^uint64(0)} {
		if a.Free(bad) || a.Counts().BadFree != uint64(i+1) {
			t.Errorf("freeing %#x was taken, %d counted", bad, a.Counts().BadFree)
		}
	}
	if !a.Free(p) || a.Free(p) {
		t.Error("a frame is freed once and only once")
	}
}

func TestNoRoomForBitmaps(t *testing.T) {
	var a Allocator
	if a.Init(memoryMap(t, bootinfo.Range{Start: 0, End: First, Type: bootinfo.RAM}), nil) {
		t.Error("RAM below 2 MiB was used")
	}
}

// TestAgainstModel plays random calls against a plain list of booleans.
func TestAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	a := newAllocator(t, nil, bootinfo.Range{Start: First, End: First + 300*Size, Type: bootinfo.RAM}, bootinfo.Range{Start: First + 310*Size, End: First + 400*Size, Type: bootinfo.RAM})
	total := a.Counts().Total
	held := map[uint64]bool{}
	for range 20000 {
		switch rng.IntN(4) {
		case 0:
			if p, ok := a.Alloc(); ok {
				if held[p] {
					t.Fatalf("%#x was handed out twice", p)
				}
				held[p] = true
			} else if uint64(len(held)) != total {
				t.Fatal("Alloc failed with frames free")
			}
		case 1:
			n, align := 1+rng.Uint64N(20), uint64(1)<<rng.IntN(4)
			p, ok := a.AllocRun(n, align)
			if !ok {
				continue
			}
			if p/Size%align != 0 {
				t.Fatalf("a run at %#x is not aligned to %d frames", p, align)
			}
			for i := range n {
				if held[p+i*Size] || p < First || p+i*Size >= First+300*Size && p+i*Size < First+310*Size {
					t.Fatalf("%#x was handed out twice or is a hole", p+i*Size)
				}
				held[p+i*Size] = true
			}
		default:
			for p := range held {
				if !a.Free(p) {
					t.Fatalf("%#x is not taken back", p)
				}
				delete(held, p)
				if rng.IntN(3) == 0 {
					break
				}
			}
		}
		if a.Counts().Free != total-uint64(len(held)) {
			t.Fatalf("%d free, want %d", a.Counts().Free, total-uint64(len(held)))
		}
	}
}

func TestNoAllocations(t *testing.T) {
	a := newAllocator(t, nil, bootinfo.Range{Start: 0, End: 64 * mib, Type: bootinfo.RAM})
	if n := testing.AllocsPerRun(100, func() {
		p, _ := a.Alloc()
		a.Free(p)
		p, _ = a.AllocRun(4, 2)
		for i := range uint64(4) {
			a.Free(p + i*Size)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAllocFree(b *testing.B) {
	a := newAllocator(b, nil, bootinfo.Range{Start: 0, End: 64 * mib, Type: bootinfo.RAM})
	b.ReportAllocs()
	for b.Loop() {
		p, _ := a.Alloc()
		a.Free(p)
	}
}
