package e1000

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
)

// TestConcurrent runs a poller, a sender and a card at once, as a machine does, with
// lies in between when asked for: no frame that arrives is wrong, and without lies none
// is lost.
func TestConcurrent(t *testing.T) {
	for name, lying := range map[string]bool{"honest": false, "lying": true} {
		t.Run(name, func(t *testing.T) {
			c := newCard(&models[2])
			c.auto = true
			d := mustOpen(t, c, Config{RxRing: 64, TxRing: 64})
			const frames = 5000
			var stop atomic.Bool
			var received, sentOut atomic.Int64
			var all sync.WaitGroup

			all.Go(func() { // poller
				batch := nic.NewBatch(16)
				last := int64(-1)
				for !stop.Load() {
					n := d.Receive(batch)
					for i := range n {
						b := contents(&batch[i])
						seq := int64(binary.BigEndian.Uint32(b[14:]))
						if seq <= last || !bytes.Equal(b, numbered(seq)) {
							t.Errorf("frame %d after %d", seq, last)
						}
						last = seq
						received.Add(1)
					}
					d.Release(batch[:n])
					if n == 0 {
						if d.Arm() && !stop.Load() {
							d.Wait()
						}
						d.Disarm()
					}
				}
			})
			all.Go(func() { // sender
				batch := nic.NewBatch(1)
				for seq := int64(0); seq < frames && !d.recovery.Stopped(); {
					b := numbered(seq)
					if !d.Reserve(&batch[0], len(b)) {
						runtime.Gosched()
						continue
					}
					fill(&batch[0], b)
					d.Transmit(batch)
					seq++
				}
			})
			all.Go(func() { // who joins groups and leaves them
				for i := byte(0); !stop.Load(); i++ {
					d.SetGroups([][6]byte{{1, 0, 0x5e, 0, i, i}}, i%4 == 0)
					runtime.Gosched()
				}
			})
			for seq := int64(0); seq < frames && !t.Failed(); {
				switch {
				case c.deliver(numbered(seq)):
					seq++
				case d.recovery.Stopped():
					seq = frames
				default:
					runtime.Gosched()
				}
				if lying && seq%500 == 499 {
					if c.arrive(frameOf(60, 0), rxEOP, rxBuffer+1) == nil {
						seq++
					}
				}
				if seq%64 == 0 {
					c.setLink(seq%128 == 0)
				}
				c.mu.Lock()
				for _, s := range c.wire {
					n := sentOut.Load()
					if seq := int64(binary.BigEndian.Uint32(s.frame[14:])); !bytes.Equal(s.frame, numbered(seq)) || !lying && seq != n {
						t.Errorf("frame %d was sent as number %d", seq, n)
					}
					sentOut.Add(1)
				}
				c.wire = nil
				c.mu.Unlock()
			}
			for !lying && !t.Failed() && (received.Load() < frames || sentOut.Load() < frames) {
				runtime.Gosched()
				c.mu.Lock()
				sentOut.Add(int64(len(c.wire)))
				c.wire = nil
				c.mu.Unlock()
			}
			stop.Store(true)
			d.Kick()
			all.Wait()
			if lying && count(d, "reset_rx_length") == 0 {
				t.Error("no lie was told")
			}
			if !lying && c.resets != 1 {
				t.Errorf("%d resets", c.resets)
			}
			if d.Receive(nic.NewBatch(1)); d.recovery.Running() { // after what was due
				for i, v := range d.filter.table {
					if got := c.reg(regMTA + 4*uint64(i)); got != v {
						t.Fatalf("word %d of the table is %#x, want %#x as was asked for last", i, got, v)
					}
				}
				if c.reg(regRCTL) != rctlOn {
					t.Error("the receiver is not on")
				}
			}
		})
	}
}

// numbered is the frame with that number.
func numbered(seq int64) []byte {
	b := frameOf(60+int(seq%1400), byte(seq))
	binary.BigEndian.PutUint32(b[14:], uint32(seq))
	return b
}
