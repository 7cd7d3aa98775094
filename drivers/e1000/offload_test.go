package e1000

import (
	"bytes"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
)

// TestOffload: sums and segments as they must be on the wire.
func TestOffload(t *testing.T) {
	c := newCard(&models[2])
	d := mustOpen(t, c, Config{TxArena: TxArenaMin})
	split := 0
	for range 60 {
		for _, f := range []struct {
			flow
			mss int
		}{
			{flow{}, 0}, {flow{payload: 1}, 0}, {flow{payload: 5}, 0}, {flow{payload: 6}, 0}, {flow{udp: true, payload: 17}, 0}, {flow{payload: 1460, options: 40}, 0},
			{flow{udp: true}, 0}, {flow{udp: true, payload: 999}, 0}, {flow{udp: true, options: 40, payload: 3}, 0},
			{flow{v6: true, payload: 5}, 0}, {flow{v6: true, udp: true, payload: 1400}, 0},
			{flow{payload: 1461, flags: 9}, 1460}, {flow{payload: 1460, flags: 9}, 1460}, {flow{payload: 1, flags: 1}, 1460},
			{flow{payload: nic.FrameMax - 54, options: 0, flags: 8}, 1460}, {flow{payload: 20_000, options: 40}, 1},
			{flow{v6: true, payload: 9000, options: 12, flags: 9}, 1428}, {flow{v6: true, payload: 65_000}, 536},
		} {
			if f.mss == 1 {
				f.payload = 50
			}
			batch := nic.NewBatch(1)
			f.queue(t, d, &batch[0], f.mss)
			if len(batch[0].Buffers) > 1 {
				split++
			}
			d.Transmit(batch)
			got := c.transmitAll()
			want := f.wanted(f.mss)
			if len(got) != len(want) {
				t.Fatalf("%v mss %d: %d frames, want %d", f.flow, f.mss, len(got), len(want))
			}
			for i := range want {
				if f.mss == 0 { // what is cut the card pads
					want[i] = padded(want[i])
				}
				if !bytes.Equal(got[i].frame, want[i]) {
					t.Fatalf("%v mss %d: frame %d\n%x\nwant\n%x", f.flow, f.mss, i, got[i].frame[:60], want[i][:60])
				}
			}
			if got[0].descs > txNeedMax {
				t.Errorf("%d descriptors for one frame", got[0].descs)
			}
		}
	}
	if split == 0 {
		t.Error("no frame straddled the arena's end")
	}
}

// TestShortSums: a frame that is padded is summed by the driver, with one descriptor, and one of UDP
// never has the sum 0, which would say that there is none.
func TestShortSums(t *testing.T) {
	c := newCard(&models[2])
	d := mustOpen(t, c, Config{})
	zeros := 0
	for i := range 1 << 16 {
		f := flow{udp: true, payload: 2}
		batch := nic.NewBatch(1)
		f.queue(t, d, &batch[0], 0)
		put16(batch[0].Buffers[0].Bytes, f.headers(), uint16(i))
		d.Transmit(batch)
		got := c.transmitAll()
		if len(got) != 1 || got[0].descs != 1 {
			t.Fatalf("%d frames, the first of %d descriptors", len(got), got[0].descs)
		}
		b := got[0].frame[:f.headers()+2]
		at := f.transport() + f.sumOffset()
		stated := get16(b, at)
		put16(b, at, pseudo(b, f.transport()))
		if want := ^sum(b[f.transport():]); want == 0 {
			zeros++
			if stated != 0xffff {
				t.Errorf("payload %#04x: the sum is %#04x, want ffff", i, stated)
			}
		} else if stated != want {
			t.Fatalf("payload %#04x: the sum is %#04x, want %#04x", i, stated, want)
		}
	}
	if zeros == 0 {
		t.Error("no sum was 0")
	}
}

// TestBadOffload: what makes no sense, or does not fit a descriptor, is dropped.
func TestBadOffload(t *testing.T) {
	for name, spoil := range map[string]func(p *nic.Packet){
		"segments without sum":    func(p *nic.Packet) { p.NeedsChecksum = false },
		"sum before the packet":   func(p *nic.Packet) { p.ChecksumStart = 13 },
		"sum beyond the frame":    func(p *nic.Packet) { p.ChecksumOffset = 60000 },
		"sum at its end":          func(p *nic.Packet) { p.Len = 51 },
		"sum too far in":          func(p *nic.Packet) { p.ChecksumStart = 250 },
		"start of 64 KiB":         func(p *nic.Packet) { p.ChecksumStart = 65535 },
		"no segment size":         func(p *nic.Packet) { p.SegmentSize = 0 },
		"unknown kind":            func(p *nic.Packet) { p.GSO = 9 },
		"IPv6 that is none":       func(p *nic.Packet) { p.GSO = nic.GSOTCPv6 },
		"segments of UDP":         func(p *nic.Packet) { p.ChecksumOffset = 6 },
		"header of half a TCP":    func(p *nic.Packet) { p.HeaderLen = 53 },
		"header beyond the field": func(p *nic.Packet) { p.HeaderLen = 256 },
		"nothing but header":      func(p *nic.Packet) { p.Len = 54 },
		"not IP": func(p *nic.Packet) {
			put16(p.Buffers[0].Bytes, 12, 0x8100)
		},
		"options that are not there": func(p *nic.Packet) { p.Buffers[0].Bytes[14] = 0x46 },
		"IPv4 of 16 bytes":           func(p *nic.Packet) { p.Buffers[0].Bytes[14] = 0x44; p.ChecksumStart -= 4 },
	} {
		c := newCard(&models[2])
		d := mustOpen(t, c, Config{})
		batch := nic.NewBatch(1)
		flow{payload: 2000}.queue(t, d, &batch[0], 1460)
		spoil(&batch[0])
		d.Transmit(batch)
		if got := c.transmitAll(); len(got) != 0 || count(d, "tx_bad_offload") != 1 {
			t.Errorf("%s: %d frames on the wire", name, len(got))
		}
		works(t, d, c)
		d.Transmit(nil)
		if d.tx.Promised() != 0 || d.tx.Places() != 0 {
			t.Errorf("%s: %d descriptors are promised", name, d.tx.Promised())
		}
	}
	// The old controllers cut no IPv6.
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(1)
	flow{v6: true, payload: 2000}.queue(t, d, &batch[0], 1440)
	d.Transmit(batch)
	if count(d, "tx_bad_offload") != 1 {
		t.Error("IPv6 was cut by a card that does not")
	}
}
