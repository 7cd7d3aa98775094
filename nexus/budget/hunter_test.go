package budget_test

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/arena"
)

// careless is memory whose segments are free before they are taken from the domain: what no
// kernel may do.
type careless struct {
	arena.Memory
	later [][2]int
}

func (m *careless) Hide(offset, size int) { m.later = append(m.later, [2]int{offset, size}) }

func (m *careless) catchUp() {
	for _, h := range m.later {
		m.Memory.Hide(h[0], h[1])
	}
	m.later = nil
}

// TestReaderNeverSeesAnothersBytes has a domain read all of its arena all the time while
// memory goes from it to another and back: it sees its own bytes or zeros. The control takes
// memory from it too late, and is caught.
func TestReaderNeverSeesAnothersBytes(t *testing.T) {
	for name, wrong := range map[string]bool{"right": false, "control": true} {
		t.Run(name, func(t *testing.T) {
			p := named(t, "small")
			l, err := arena.NewLayout(p)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, 2*l.Size, l.Size)
			late := &careless{}
			reader := w.openIn("reader", 100, p, func(m arena.Memory) arena.Memory {
				if late.Memory = m; wrong {
					return late
				}
				return m
			})
			other := w.open("other", 100, p)
			const mark = 0x5ec2e75ec2e75ec2
			var stop atomic.Bool
			var caught atomic.Int64
			done := make(chan struct{})
			span := l.Spans[arena.Buffers]
			words := unsafe.Slice((*uint64)(unsafe.Add(reader.memory.Domain(), span.Offset)), (span.Size+l.Spans[arena.Large].Size)/8)
			go func() {
				defer close(done)
				for !stop.Load() {
					for i := range words {
						if atomic.LoadUint64(&words[i]) == mark {
							caught.Add(1)
							break
						}
					}
				}
			}()
			data := make([]byte, 60000)
			for i := range data {
				data[i] = byte(uint64(mark) >> (i % 8 * 8))
			}
			moved := 0
			for round := 0; round < 30 || wrong && caught.Load() == 0 && round < 3000; round++ {
				reader.burst(60, 40000)
				had := reader.has()
				w.run(12 * time.Second)
				if reader.has() < had {
					moved++
				}
				for range 60 {
					other.deliver(data)
				}
				for i := range 20 { // it looks on while they are there
					other.receive(i % 3)
				}
				other.receive(100)
				late.catchUp()
				w.run(12 * time.Second)
			}
			stop.Store(true)
			<-done
			if n := caught.Load(); (n > 0) != wrong {
				t.Errorf("%d times it saw what is another's", n)
			}
			if moved < 30 {
				t.Errorf("memory went %d times", moved)
			}
		})
	}
}
