package net

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// TestConcurrent has the card on a goroutine of its own, which loops each frame
// back, while one goroutine polls and another transmits.
func TestConcurrent(t *testing.T) {
	for name, features := range map[string]uint64{"event index": full, "flags": full &^ virtio.FeatureEventIndex} {
		t.Run(name, func(t *testing.T) {
			const frames = 4000
			c := newCard(features)
			d := mustOpen(t, c, Config{RxRing: 64, TxRing: 16})
			doorbell := make(chan struct{}, 1)
			serve := c.OnNotify
			c.OnNotify = func(q int) {
				if q == queueControl {
					serve(q)
					return
				}
				select {
				case doorbell <- struct{}{}:
				default:
				}
			}
			stop := make(chan struct{})
			room := make(chan struct{}, 1)
			var wg sync.WaitGroup
			wg.Go(func() { // the card
				var waiting [][]byte
				for {
					got, heads := c.collect()
					for _, s := range got {
						waiting = append(waiting, s.frame)
					}
					if len(heads) > 0 {
						c.finish(heads...)
					}
					moved := len(heads) > 0
					for len(waiting) > 0 && c.deliver(header{}, waiting[0]) {
						waiting = waiting[1:]
						moved = true
					}
					if moved {
						continue
					}
					select {
					case <-doorbell:
					case <-stop:
						return
					}
				}
			})
			wg.Go(func() { // the sender
				batch := nic.NewBatch(8)
				for i := 0; i < frames; {
					n := 0
					for n < len(batch) && i < frames && d.Reserve(&batch[n], 60+i%3000) {
						frame := frameOf(60+i%3000, byte(i))
						binary.BigEndian.PutUint32(frame, uint32(i))
						fill(&batch[n], frame)
						n++
						i++
					}
					d.Transmit(batch[:n])
					if n == 0 {
						<-room
					}
				}
			})
			batch := nic.NewBatch(8) // the poller
			for i := 0; i < frames; {
				n := d.Receive(batch)
				for j := range n {
					got := contents(&batch[j])
					want := frameOf(60+i%3000, byte(i))
					binary.BigEndian.PutUint32(want, uint32(i))
					if !bytes.Equal(got, want) {
						t.Fatalf("frame %d is damaged", i)
					}
					i++
				}
				d.Release(batch[:n])
				select {
				case room <- struct{}{}:
				default:
				}
				if n == 0 && i < frames && d.Arm() {
					d.Wait()
					d.Disarm()
				}
			}
			close(stop)
			wg.Wait()
			if c.Resets() != 1 {
				t.Errorf("%d resets", c.Resets())
			}
		})
	}
}

// TestConcurrentLies lets another goroutine scribble over both rings while the
// driver polls and sends. Only crashes and races can fail it; the race detector
// watches all that is not shared with the device.
func TestConcurrentLies(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{RxRing: 32, TxRing: 16})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint32(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			for q := range 2 {
				c.Push(q, i%37, i%5000)
				if i%5 == 0 {
					c.SetUsedIndex(q, uint16(i))
				}
				c.Flush(q)
			}
			if i%64 == 0 {
				c.NeedReset()
			}
			runtime.Gosched()
		}
	})
	wg.Go(func() {
		batch := nic.NewBatch(4)
		for range 2000 {
			n := 0
			for n < len(batch) && d.Reserve(&batch[n], 60) {
				n++
			}
			d.Transmit(batch[:n])
			runtime.Gosched()
		}
	})
	batch := nic.NewBatch(4)
	for range 2000 {
		d.Release(batch[:d.Receive(batch)])
		if d.Arm() {
			d.Kick()
			d.Wait()
			d.Disarm()
		}
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
}
