package host

import (
	"fmt"
	"testing"
	"unsafe"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

func TestLimitsFitTheBudget(t *testing.T) {
	budgets := []int{-1, 0, 1 << 40}
	for b := MemoryBudgetMin - 1<<20; b <= MemoryBudgetMax+1<<20; b += 64<<10 + 1 {
		budgets = append(budgets, b)
	}
	for _, budget := range append(budgets, MemoryBudgetMin, MemoryBudgetMax) {
		l := limitsFor(budget)
		b := min(max(budget, MemoryBudgetMin), MemoryBudgetMax)
		if l.worst() > b {
			t.Fatalf("budget %d: worst case %d in %+v", b, l.worst(), l)
		}
		if l.worst() < b*9/10 {
			t.Errorf("budget %d: of %d no use is made in %+v", b, b-l.worst(), l)
		}
		for _, m := range []struct {
			name      string
			got, want int
		}{
			{"HTTP connections", l.httpConnections, 16},
			{"echo connections", l.echoConnections, 4},
			{"discard connections", l.discardConnections, 2},
			{"receive buffer", l.receiveMax, 128 << 10},
			{"first receive buffer", l.receiveFirst, 2 * 10 * 1460}, // a window of ten segments
			{"send buffer of a few", l.sendMax, 128 << 10},
			{"send buffer of others", l.sendMin, 32 << 10},
			{"backlog", l.backlog, 4},
			{"closed connections", l.closedMax, 128},
			{"transmit queue", l.txQueue, 15 * (chunkMax + packetBytes)}, // 15 of the longest packets
			{"fragments", l.fragments, 2 * 45 * fragmentBytes(1500)},     // 2 of the longest datagrams
		} {
			if m.got < m.want {
				t.Fatalf("budget %d: %s: %d, want at least %d", b, m.name, m.got, m.want)
			}
		}
	}
}

// TestBudgetOfSmallMachines relates the budget to the heap. The kernel gives
// the stack a quarter of the memory that the image leaves, and sets the
// collector's limit to three quarters of what is free when main begins. Of 64
// MiB the image leaves 52 MiB, and 49 MiB are free: a limit of 36.75 MiB. The
// rest of the kernel's heap, less than 1 MiB after boot, and garbage have what
// the stack's budget leaves of that.
func TestBudgetOfSmallMachines(t *testing.T) {
	const (
		image   = 12 << 20 // and what firmware and page tables take
		early   = 4 << 20  // less is free than the image leaves, by this
		devices = 4 << 20  // rings and buffers of cards are not heap
		kernel  = 10 << 20 // for everything else on the heap
	)
	for machine := 64 << 20; machine <= 8<<30; machine += 16 << 20 {
		free := machine - image - early
		heap := min(free-free/4, 768<<20) // of at most 1 GiB of addresses
		worst := limitsFor((machine - image) / 4).worst()
		if worst+kernel > heap {
			t.Errorf("%d MiB: the stack may hold %d bytes, the heap's limit is %d", machine>>20, worst, heap)
		}
		if heap+devices > free {
			t.Errorf("%d MiB: the heap's limit %d leaves too little of %d for devices", machine>>20, heap, free)
		}
	}
}

// TestLeastClassQueue compares the class queue's part of the least budget with what docs/host.md says.
func TestLeastClassQueue(t *testing.T) {
	chunks := limitsFor(0).txChunks
	if mib := fmt.Sprintf("%.1f, %.1f", float64(queueMemory(chunks))/(1<<20), float64(chunks*chunkBytes)/(1<<20)); mib != "1.2, 0.4" {
		t.Errorf("%s MiB", mib)
	}
}

// allocated is the memory of an object of n bytes.
func allocated(n int) int { return cap(append([]byte(nil), make([]byte, n)...)) }

// TestCosts compares constants with the structures they stand for.
func TestCosts(t *testing.T) {
	const (
		entry    = 24 // of a pointer in a map
		smallest = 64 // the smallest chunk
	)
	view := allocated(int(unsafe.Sizeof(buffer.View{})))
	chunk := allocated(32) // a counter and a slice
	description := allocated(stack.PacketBufferStructSize)
	// gVisor's number has room for IP options that are not there.
	counted := tcp.SegOverheadSize - header.IPv4MaximumHeaderSize
	segment := allocated(counted-stack.PacketBufferStructSize) + description + view + chunk
	if segment+entry > segmentBytes {
		t.Errorf("a segment in a send queue takes %d bytes, counted are %d", segment+entry, segmentBytes)
	}
	const owner = 256 // the largest structure that holds a packet
	if n := description + 2*(view+chunk+smallest) + owner; n > packetBytes {
		t.Errorf("a packet takes %d bytes, counted are %d", n, packetBytes)
	}
	// The receive buffer's factor, for every length of a packet.
	for n := ipv4Header + tcpHeader + 1; n <= 0xffff; n++ {
		memory := segment - view - chunk
		for left := n; left > 0; left -= min(left, pieceSize(left)) {
			memory += max(pieceSize(left), smallest) + view + chunk
		}
		if 4*memory > 7*(counted+n) {
			t.Fatalf("a packet of %d bytes takes %d, gVisor counts %d", n, memory, counted+n)
		}
	}
}
