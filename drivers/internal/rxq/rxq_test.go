package rxq

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	"github.com/sluice-os/sluice/drivers/nic"
)

const testCount = 40

func mustOpen(t testing.TB) *Buffers {
	t.Helper()
	memory := &fakehw.Allocator{}
	b := &Buffers{}
	if err := b.Open(hw.NewDMA(memory, memory), testCount, 4096); err != nil {
		t.Fatal(err)
	}
	return b
}

// packet is a received one, in those buffers.
func packet(ids ...uint32) nic.Packet {
	var p nic.Packet
	for _, id := range ids {
		p.Buffers = append(p.Buffers, nic.Buffer{ID: id})
	}
	return p
}

// TestBooks moves buffers between all three in random order: each is with the one who got
// it last, and none is lent while the device or the poller has it.
func TestBooks(t *testing.T) {
	b := mustOpen(t)
	random := rand.New(rand.NewPCG(5, 6))
	var lent, polled []uint32
	pick := func(from *[]uint32) uint32 {
		i := random.IntN(len(*from))
		id := (*from)[i]
		*from = append((*from)[:i], (*from)[i+1:]...)
		return id
	}
	for step := range 20_000 {
		switch op := random.IntN(100); {
		case op < 40 && b.Idle() > 0:
			id, _ := b.Next()
			if b.Lent(id) {
				t.Fatalf("step %d: buffer %d is lent twice", step, id)
			}
			b.Lend()
			lent = append(lent, id)
		case op < 70 && len(lent) > 0:
			id := pick(&lent)
			b.Take(id)
			polled = append(polled, id)
		case op < 80 && len(polled) > 0:
			b.Drop(pick(&polled))
		case op < 98 && len(polled) > 1:
			batch := []nic.Packet{packet(pick(&polled), pick(&polled))}
			if bad := b.Release(batch); bad != 0 || len(batch[0].Buffers) != 0 {
				t.Fatalf("step %d: %d bad, %+v", step, bad, batch[0])
			}
		case op == 99:
			b.Reset()
			lent = nil
		}
		driver, device, poller := b.Owned()
		if driver != b.Idle() || device != len(lent) || poller != len(polled) || driver+device+poller != testCount {
			t.Fatalf("step %d: driver %d, %d idle; device %d, want %d; poller %d, want %d", step, driver, b.Idle(), device, len(lent), poller, len(polled))
		}
		for _, id := range lent {
			if !b.Lent(id) {
				t.Fatalf("step %d: buffer %d is not the device's", step, id)
			}
		}
	}
}

// TestBadRelease: what the poller does not have stays where it is.
func TestBadRelease(t *testing.T) {
	b := mustOpen(t)
	idle, _ := b.Next()
	b.Lend()
	device, _ := b.Next()
	b.Lend()
	b.Take(idle) // now the poller's
	poller := idle
	idle, _ = b.Next()
	batch := []nic.Packet{packet(device, idle, testCount, 1<<32-1), packet(poller, poller)}
	if bad := b.Release(batch); bad != 5 {
		t.Errorf("%d were refused, want 5", bad)
	}
	if driver, device, poller := b.Owned(); driver != testCount-1 || device != 1 || poller != 0 || b.Idle() != driver {
		t.Errorf("driver %d, device %d, poller %d, %d idle", driver, device, poller, b.Idle())
	}
}

// TestMemory: buffers are as long as asked for, the device writes each at its own address,
// all memory comes back, also after too little of it, and what there is not is an error.
func TestMemory(t *testing.T) {
	for _, size := range []int{2048, 4096, Chunk} {
		memory := &fakehw.Allocator{}
		dma := hw.NewDMA(memory, memory)
		b := &Buffers{}
		if err := b.Open(dma, testCount, size); err != nil || b.Len() != testCount || b.Idle() != testCount {
			t.Fatal(err, b.Len())
		}
		seen := map[*byte]bool{}
		for b.Idle() > 0 {
			id, bus := b.Next()
			b.Lend()
			reached, err := memory.At(bus, size, hw.FromDevice, true)
			if err != nil {
				t.Fatal(err)
			}
			own := b.Bytes(id)
			if &reached[0] != &own[0] || len(own) != size || cap(own) != size || seen[&own[0]] {
				t.Fatalf("size %d: buffer %d has %d bytes, or another's", size, id, len(own))
			}
			seen[&own[0]] = true
		}
		if need := (testCount*size + Chunk - 1) / Chunk; dma.Counters().Maps != uint64(need) {
			t.Errorf("size %d: %d segments, want %d", size, dma.Counters().Maps, need)
		}
		b.Free(dma)
		if memory.Used() != 0 {
			t.Errorf("size %d: %d bytes are lost", size, memory.Used())
		}

		memory.Limit = testCount * size / 2
		b = &Buffers{}
		if err := b.Open(dma, testCount, size); err == nil || !strings.Contains(err.Error(), "receive buffers") {
			t.Errorf("size %d: got %v", size, err)
		}
		b.Free(dma)
		if memory.Used() != 0 {
			t.Errorf("size %d: %d bytes are lost when there is too little", size, memory.Used())
		}
	}
}

func TestAllocations(t *testing.T) {
	b, batch := mustOpen(t), nic.NewBatch(1)
	if n := testing.AllocsPerRun(100, func() {
		for range 3 {
			id, _ := b.Next()
			b.Lend()
			batch[0].Buffers = append(batch[0].Buffers, nic.Buffer{Bytes: b.Take(id), ID: id})
		}
		b.Release(batch)
		b.Lend()
		b.Reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
