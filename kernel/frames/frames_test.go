package frames

import (
	"encoding/binary"
	"math/rand/v2"
	"syscall"
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

// newAllocator gives an allocator whose bitmaps lie in memory of the test, not
// of the Go heap: the first RAM above First must be at First.
func newAllocator(t testing.TB, reserved []Range, ranges ...bootinfo.Range) *Allocator {
	t.Helper()
	a := &Allocator{Base: mapMemory(t) - First}
	if !a.Init(memoryMap(t, ranges...), reserved) {
		t.Fatal("no room for the bitmaps")
	}
	return a
}

// mapMemory returns the address of 40 MiB that are unmapped with the test.
func mapMemory(t testing.TB) uintptr {
	t.Helper()
	b, err := syscall.Mmap(-1, 0, 40*mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	// Memory comes as it was left: not zero.
	for i := range 8 * Size {
		b[i] = 0xa5
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	return uintptr(unsafe.Pointer(&b[0]))
}

func within(ranges []Range, at uint64) bool {
	for _, r := range ranges {
		if at+Size > r.Start && at < r.End {
			return true
		}
	}
	return false
}

func ram(start, end uint64) bootinfo.Range {
	return bootinfo.Range{Start: start, End: end, Type: bootinfo.RAM}
}

const (
	mib = 1 << 20
	// owner has what a test takes that looks at nothing but frames.
	owner = Owner(3)
)

func TestEveryFrameOnceAndNoHole(t *testing.T) {
	for _, c := range []struct {
		name     string
		reserved []Range
		ranges   []bootinfo.Range
		total    uint64
	}{
		{"64 MiB", nil, []bootinfo.Range{{Start: 0, End: 64 * mib, Type: bootinfo.RAM}}, 62*256 - 9},
		{"an image", []Range{{10 * mib, 12*mib + 1}}, []bootinfo.Range{{Start: 0, End: 64 * mib, Type: bootinfo.RAM}}, 60*256 - 1 - 8},
		{"holes", nil, []bootinfo.Range{
			{Start: 2 * mib, End: 3 * mib, Type: bootinfo.RAM}, {Start: 3 * mib, End: 3*mib + Size, Type: bootinfo.NVS},
			{Start: 5 * mib, End: 6 * mib, Type: bootinfo.RAM}, {Start: 4 << 30, End: 4<<30 + mib, Type: bootinfo.RAM},
		}, 3*256 - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAllocator(t, c.reserved, c.ranges...)
			if got := a.Counts(); got.Total != c.total || got.Free != c.total {
				t.Fatalf("%d frames, %d free, want %d", got.Total, got.Free, c.total)
			}
			seen := map[uint64]bool{}
			for {
				p, ok := a.Alloc(owner)
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
				if !a.Free(p, owner) {
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
	image := Range{10 * mib, 11 * mib}
	a := newAllocator(t, []Range{image}, ram(0, 16*mib), ram(20*mib, 21*mib))
	p, _ := a.Alloc(owner)
	for i, bad := range []uint64{p + 1, 0, First - Size, First, image.Start, 16 * mib, 20*mib - Size, 21 * mib, 1 << 40, ^uint64(0), ^uint64(0) &^ (Size - 1)} {
		if a.Free(bad, owner) || a.Counts().BadFree != uint64(i+1) {
			t.Errorf("freeing %#x was taken, %d counted", bad, a.Counts().BadFree)
		}
	}
	if a.Free(p+Size, owner) || !a.Free(p, owner) || a.Free(p, owner) || a.Counts().DoubleFree != 2 {
		t.Errorf("a frame is freed once and only once; counts %+v", a.Counts())
	}
	if c := a.Counts(); c.Free != c.Total {
		t.Errorf("counts %+v", c)
	}
	p, _ = a.Alloc(owner)
	if a.Free(p, owner+1) || a.Free(p, Nobody) || a.Counts().WrongOwner != 2 || a.Held(owner) != 1 || !a.Free(p, owner) {
		t.Errorf("a frame is freed by its owner alone; counts %+v", a.Counts())
	}
	var none Allocator
	if _, ok := none.Alloc(owner); ok || none.Free(First, owner) {
		t.Error("an allocator without memory gives or takes some")
	}
	if _, ok := none.AllocRun(1, 1, owner); ok {
		t.Error("an allocator without memory gives a run")
	}
}

// TestLargeMemory checks the sizes that are supported, by their counts and by
// what comes first and last.
func TestLargeMemory(t *testing.T) {
	for _, c := range []struct {
		ranges  []bootinfo.Range
		account uint64 // frames
		last    uint64 // the highest frame
	}{
		{[]bootinfo.Range{ram(First, 64*mib)}, 9, 64*mib - Size},
		{[]bootinfo.Range{ram(First, 512*mib)}, 68, 512*mib - Size},
		{[]bootinfo.Range{ram(First, 3<<30), ram(4<<30, 9<<30)}, 1089, 9<<30 - Size},
		{[]bootinfo.Range{ram(First, 3<<30), ram(4<<30, 65<<30)}, 8712, 65<<30 - Size},
		{[]bootinfo.Range{ram(First, 4*mib), ram(4*mib, 64*mib)}, 9, 64*mib - Size},
		// What lies behind the direct map is not touched, wherever it is.
		{[]bootinfo.Range{ram(First, 64*mib), ram(addressEnd-mib, addressEnd+mib), ram(1<<50, 1<<51)}, 9, addressEnd - Size},
	} {
		a := newAllocator(t, nil, c.ranges...)
		var want uint64
		for _, r := range c.ranges {
			if r.Start < addressEnd {
				want += (min(r.End, addressEnd) - r.Start) / Size
			}
		}
		if got := a.Counts(); got.Total != want-c.account || got.Free != got.Total || got.Lost != 0 {
			t.Errorf("counts %+v, want %d in all", got, want-c.account)
		}
		if p, ok := a.Alloc(owner); !ok || p != First+c.account*Size {
			t.Errorf("first frame %#x", p)
		}
		if !a.free.has(a.free.bits-1) || a.zones[a.zoneCount-1].end() != c.last+Size {
			t.Errorf("last frame %#x, want %#x", a.zones[a.zoneCount-1].end()-Size, c.last)
		}
	}
}

func TestRunsDoNotCrossHoles(t *testing.T) {
	a := newAllocator(t, nil, ram(First, First+64*Size), ram(First+65*Size, First+129*Size))
	if p, ok := a.AllocRun(64, 1, owner); !ok || p != First+65*Size {
		t.Errorf("64 frames at %#x, %v", p, ok)
	}
	if p, ok := a.AllocRun(64, 1, owner); ok {
		t.Errorf("64 of 63 frames at %#x", p)
	}
	if p, ok := a.AllocRun(63, 1, owner); !ok || p != First+Size {
		t.Errorf("63 frames at %#x, %v", p, ok)
	}
	for _, c := range [][2]uint64{{0, 1}, {1, 0}, {1, 3}, {1 << 63, 1}, {1, 1 << 63}} {
		if p, ok := a.AllocRun(c[0], c[1], owner); ok {
			t.Errorf("%d frames aligned to %d at %#x", c[0], c[1], p)
		}
	}
}

func TestMoreHolesThanZones(t *testing.T) {
	var reserved []Range
	for i := range uint64(200) {
		reserved = append(reserved, Range{First + (100+2*i)*Size, First + (101+2*i)*Size})
	}
	a := newAllocator(t, reserved, ram(0, 16*mib))
	c := a.Counts()
	if c.Lost == 0 || c.Total+c.Lost != 14*256-200-1 {
		t.Errorf("counts %+v", c)
	}
	for {
		p, ok := a.Alloc(owner)
		if !ok {
			break
		}
		if within(reserved, p) {
			t.Fatalf("reserved frame %#x was handed out", p)
		}
	}
}

func TestNoRoomForBitmaps(t *testing.T) {
	for _, c := range []struct {
		name string
		ram  bootinfo.Range
	}{
		{"below 2 MiB", ram(0, First)},
		{"not mapped yet, from 4 GiB on", ram(bitmapEnd, bitmapEnd+64*mib)},
		{"a single frame, which the bitmaps would fill", ram(First, First+Size)},
	} {
		var a Allocator
		if a.Init(memoryMap(t, c.ram), nil) {
			t.Errorf("RAM %s was used", c.name)
		}
		if p, ok := a.Alloc(owner); ok {
			t.Errorf("RAM %s: frame %#x was handed out", c.name, p)
		}
	}
}

// TestLowFramesGoFirst has RAM on both sides of 4 GiB: what is freed below is
// taken again before anything above.
func TestLowFramesGoFirst(t *testing.T) {
	a := newAllocator(t, nil, ram(First, 4*mib), ram(4<<30, 4<<30+4*mib))
	for range 2*256 - 1 {
		if p, ok := a.Alloc(owner); !ok || p >= bitmapEnd {
			t.Fatalf("frame %#x, %v while there are some below 4 GiB", p, ok)
		}
	}
	if p, ok := a.Alloc(owner); !ok || p != 4<<30 {
		t.Errorf("first frame above: %#x, %v", p, ok)
	}
	if p, ok := a.AllocRun(16, 16, owner); !ok || p != 4<<30+16*Size {
		t.Errorf("first run above: %#x, %v", p, ok)
	}
	a.Free(3*mib, owner)
	if p, ok := a.Alloc(owner); !ok || p != 3*mib {
		t.Errorf("after a free below: %#x, %v", p, ok)
	}
}

// play runs the calls that code says against a plain set of frames.
func play(t *testing.T, code []byte) {
	const hole, end = First + 300*Size, First + 400*Size
	a := newAllocator(t, []Range{{First + 50*Size, First + 51*Size}}, ram(First, hole), ram(hole+10*Size, end))
	free := map[uint64]bool{}
	owners := map[uint64]Owner{}
	for p := uint64(First + Size); p < end; p += Size {
		if p != First+50*Size && (p < hole || p >= hole+10*Size) {
			free[p] = true
		}
	}
	total := uint64(len(free))
	take := func(p, n uint64, o Owner) {
		for i := range n {
			if !free[p+i*Size] {
				t.Fatalf("%#x is not free and was handed out", p+i*Size)
			}
			delete(free, p+i*Size)
			owners[p+i*Size] = o
		}
	}
	// run is the lowest run by the model.
	run := func(n, align uint64) (uint64, bool) {
		for p := uint64(First); p < end; p += Size {
			k := uint64(0)
			for p/Size%align == 0 && k < n && free[p+k*Size] {
				k++
			}
			if k == n {
				return p, true
			}
		}
		return 0, false
	}
	for len(code) >= 3 {
		op, x, y := code[0], uint64(code[1]), uint64(code[2])
		code = code[3:]
		var p, want uint64
		var ok, wantOK bool
		o := Owner(op/4%3 | op/16<<5)
		switch n, align := 1+x%40, uint64(1)<<(y%7); op % 4 {
		case 0:
			want, wantOK = run(1, 1)
			if p, ok = a.Alloc(o); ok {
				take(p, 1, o)
			}
		case 1:
			want, wantOK = run(n, align)
			if p, ok = a.AllocRun(n, align, o); ok {
				take(p, n, o)
			}
		default:
			p = First + (x<<8|y)%410*Size
			want, wantOK = p, p < end && !free[p] && p != First && p != First+50*Size && (p < hole || p >= hole+10*Size)
			wantOK = wantOK && owners[p] == o
			if ok = a.Free(p, o); ok {
				free[p] = true
				delete(owners, p)
			}
		}
		if ok != wantOK || ok && p != want {
			t.Fatalf("call %d: got %#x, %v, want %#x, %v", op%4, p, ok, want, wantOK)
		}
		if c := a.Counts(); c.Total != total || c.Free != uint64(len(free)) || c.Used != total-c.Free || c.Peak > total || c.Peak < c.Used {
			t.Fatalf("counts %+v with %d of %d free", c, len(free), total)
		}
		held := map[Owner]uint64{}
		for p, o := range owners {
			held[o%Classes]++
			i, ok := a.Index(p)
			if got, taken := a.OwnerAt(i); !ok || !taken || got != o {
				t.Fatalf("%#x is owner %d's, %v, %v, want %d", p, got, taken, ok, o)
			}
		}
		for o := range Owner(4) {
			if a.Held(o) != held[o] {
				t.Fatalf("owner %d has %d frames, want %d", o, a.Held(o), held[o])
			}
		}
	}
}

func TestAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		code := make([]byte, 3*500)
		for i := range code {
			code[i] = byte(rng.Uint32())
		}
		play(t, code)
	}
}

func FuzzAllocator(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 39, 6, 2, 0, 1, 1, 5, 2, 2, 0, 1})
	f.Fuzz(func(t *testing.T, code []byte) { play(t, code[:min(len(code), 3*200)]) })
}

func TestNoAllocations(t *testing.T) {
	a := newAllocator(t, nil, bootinfo.Range{Start: 0, End: 64 * mib, Type: bootinfo.RAM})
	m := memoryMap(t, ram(0, 64*mib))
	if n := testing.AllocsPerRun(100, func() {
		a.Init(m, []Range{{3 * mib, 4 * mib}})
		p, _ := a.Alloc(owner)
		a.Free(p, owner)
		p, _ = a.AllocRun(4, 2, owner)
		for i := range uint64(4) {
			a.Free(p+i*Size, owner)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAllocFree takes the highest frame of 8 GiB and gives it back.
func BenchmarkAllocFree(b *testing.B) {
	a := newAllocator(b, nil, ram(First, 8<<30))
	for a.Counts().Free > 1 {
		a.Alloc(owner)
	}
	b.ReportAllocs()
	for b.Loop() {
		p, _ := a.Alloc(owner)
		a.Free(p, owner)
	}
}

func BenchmarkInit8GiB(b *testing.B) {
	m := memoryMap(b, ram(First, 3<<30), ram(4<<30, 9<<30))
	a := &Allocator{Base: mapMemory(b) - First}
	b.ReportAllocs()
	for b.Loop() {
		a.Init(m, []Range{{First, First + 8*mib}})
	}
}
