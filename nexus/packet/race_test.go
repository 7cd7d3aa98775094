package packet

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
)

// This file owns the races on payload, capability 5.3: a domain writes while its bytes are
// copied and summed.

// huntLimit is how long a hunt may take at most; on a machine that is busy the hunter seldom runs
// beside the copy.
const huntLimit = 5 * time.Minute

// huntCopies copies memory of a domain's that another processor writes to, until a sum is not
// that of the copy, which it reports; or, if those that were changed on the way are many and
// none is wrong, false.
func huntCopies(t *testing.T, copySum func(dst, src []byte) uint16) bool {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	m := arenatest.New(t, arena.SegmentSize)
	src, err := m.Alloc(arena.Buffers, arena.SegmentSize)
	if err == nil {
		err = m.Show(0, src, arena.ReadWrite)
	}
	if err != nil {
		t.Fatal(err)
	}
	const size = 1461 // the tail takes every way
	domain := unsafe.Slice((*byte)(m.Domain()), size)
	var over atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for !over.Load() {
			domain[r.IntN(size)]++
		}
	})
	defer func() { over.Store(true); done.Wait() }()
	dst, enough := make([]byte, size), 1000
	for end := time.Now().Add(huntLimit); enough > 0 && time.Now().Before(end); {
		sum := copySum(dst, src[:size])
		if SumOf(dst) != sum {
			return true
		}
		if string(dst) != string(src[:size]) {
			enough--
		}
	}
	if enough > 0 {
		t.Fatalf("%d copies less than wanted have met the hunter", enough)
	}
	return false
}

// TestCapability53SumIsOfTheCopy: whatever is written meanwhile, the sum is that of the bytes
// that were copied.
func TestCapability53SumIsOfTheCopy(t *testing.T) {
	if huntCopies(t, func(dst, src []byte) uint16 {
		var s Sum
		s.Copy(dst, src)
		return s.Fold()
	}) {
		t.Error("a sum is not that of the copy")
	}
}

// TestCapability53HunterCatches is the control: a sum that is made before the copy, or behind
// it of the source.
func TestCapability53HunterCatches(t *testing.T) {
	for name, f := range map[string]func(dst, src []byte) uint16{
		"before": func(dst, src []byte) uint16 { s := SumOf(src); copy(dst, src); return s },
		"behind": func(dst, src []byte) uint16 { copy(dst, src); return SumOf(src) },
	} {
		if !huntCopies(t, f) {
			t.Errorf("a sum made %s the copy was right", name)
		}
	}
}
