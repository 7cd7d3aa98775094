package net

import (
	"bytes"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

func TestReceive(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(4)
	for i, n := range []int{14, 60, 1514, 4084, 4085, 9000, nic.FrameMax} {
		frame := frameOf(n, byte(i))
		if !c.deliver(header{flags: flagDataValid}, frame) {
			t.Fatal("the driver has lent too little")
		}
		if got := d.Receive(batch); got != 1 {
			t.Fatalf("%d bytes: received %d frames", n, got)
		}
		p := &batch[0]
		if p.Len != n || !bytes.Equal(contents(p), frame) {
			t.Errorf("%d bytes: got %d, wrong or damaged", n, p.Len)
		}
		if !p.Verified || p.NeedsChecksum || p.GSO != nic.GSONone {
			t.Errorf("%d bytes: %+v", n, p)
		}
		d.Release(batch[:1])
		if p.Len != 0 || len(p.Buffers) != 0 {
			t.Error("Release has not reset the packet")
		}
	}
	works(t, d, c)
	if count(d, "rx_frames") != 8 || count(d, "rx_notifies") == 0 {
		t.Errorf("rx_frames is %d, rx_notifies %d", count(d, "rx_frames"), count(d, "rx_notifies"))
	}
}

// TestReceiveStarved keeps all buffers until the device has none, then gives
// them back in another order.
func TestReceiveStarved(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{RxRing: 32})
	batch := nic.NewBatch(40)
	for i := range 32 {
		if !c.deliver(header{}, frameOf(60, byte(i))) {
			t.Fatalf("no buffer for frame %d", i)
		}
	}
	if c.deliver(header{}, frameOf(60, 0)) {
		t.Fatal("33 frames in 32 buffers")
	}
	if n := d.Receive(batch); n != 32 {
		t.Fatalf("received %d", n)
	}
	for i := range 32 {
		if !bytes.Equal(contents(&batch[i]), frameOf(60, byte(i))) {
			t.Fatalf("frame %d is damaged", i)
		}
	}
	d.Release(batch[16:32])
	d.Release(batch[:16])
	works(t, d, c)
}

func TestReceiveMerged(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(1)
	for _, v := range []struct {
		gsoType uint8
		want    nic.GSOType
		start   uint16 // of TCP
		size    uint16
	}{{gsoTCPv4, nic.GSOTCPv4, 34, 1448}, {gsoTCPv6, nic.GSOTCPv6, 54, 1428}} {
		frame := frameOf(20000, 0)
		frame[v.start+tcpDataOffset] = 8 << 4
		h := header{flags: flagNeedsChecksum, gsoType: v.gsoType, headerLen: 4000, gsoSize: v.size, checksumStart: v.start, checksumOffset: 16}
		c.deliver(h, frame)
		if d.Receive(batch) != 1 {
			t.Fatalf("type %d: nothing received", v.gsoType)
		}
		p := &batch[0]
		if p.GSO != v.want || p.SegmentSize != v.size || p.HeaderLen != v.start+32 || !p.NeedsChecksum || p.ChecksumStart != v.start || p.ChecksumOffset != 16 {
			t.Errorf("type %d: described as %+v", v.gsoType, p)
		}
		if p.Len != len(frame) || !bytes.Equal(contents(p), frame) {
			t.Errorf("type %d: %d bytes, wrong or damaged", v.gsoType, p.Len)
		}
		d.Release(batch)
	}
}

// TestBadHeaders drops single frames and leaves the device running.
func TestBadHeaders(t *testing.T) {
	tcp := frameOf(3000, 0)
	tcp[34+tcpDataOffset] = 5 << 4
	tcp6 := frameOf(3000, 0)
	tcp6[54+tcpDataOffset] = 5 << 4
	short := bytes.Clone(tcp)
	short[34+tcpDataOffset] = 4 << 4
	gso := header{flags: flagNeedsChecksum, gsoType: gsoTCPv4, headerLen: 54, gsoSize: 1448, checksumStart: 34, checksumOffset: 16}
	with := func(f func(*header)) header { h := gso; f(&h); return h }

	for _, c := range []struct {
		name, counter string
		features      uint64
		h             header
		frame         []byte
	}{
		{"good", "rx_frames", full, gso, tcp},
		{"good IPv6", "rx_frames", full, with(func(h *header) { h.gsoType, h.headerLen, h.checksumStart = gsoTCPv6, 74, 54 }), tcp6},
		{"13 bytes", "rx_short", full, header{}, tcp[:13]},
		{"no bytes", "rx_short", full, header{}, nil},
		{"too long", "rx_long", full, header{}, make([]byte, nic.FrameMax+1)},
		{"sum behind the end", "rx_bad_checksum_offload", full, header{flags: flagNeedsChecksum, checksumStart: 40, checksumOffset: 19}, tcp[:60]},
		{"sum far behind", "rx_bad_checksum_offload", full, header{flags: flagNeedsChecksum, checksumStart: 65535, checksumOffset: 65535}, tcp[:60]},
		{"sum in Ethernet", "rx_bad_checksum_offload", full, header{flags: flagNeedsChecksum, checksumStart: 13}, tcp[:60]},
		{"sum not negotiated", "rx_bad_checksum_offload", full &^ featureGuestCSUM, header{flags: flagNeedsChecksum, checksumStart: 34, checksumOffset: 16}, tcp},
		{"UFO", "rx_bad_gso_type", full, with(func(h *header) { h.gsoType = 3 }), tcp},
		{"ECN", "rx_bad_gso_type", full, with(func(h *header) { h.gsoType |= 0x80 }), tcp},
		{"TSO4 not negotiated", "rx_bad_gso_type", full &^ featureGuestTSO4, gso, tcp},
		{"TSO6 not negotiated", "rx_bad_gso_type", full &^ featureGuestTSO6, with(func(h *header) { h.gsoType = gsoTCPv6 }), tcp},
		{"segments of nothing", "rx_bad_gso_size", full, with(func(h *header) { h.gsoSize = 0 }), tcp},
		{"header over the end", "rx_bad_header_length", full, with(func(h *header) { h.headerLen = 3001 }), tcp},
		{"merged and summed", "rx_bad_checksum_offload", full, with(func(h *header) { h.flags = flagDataValid }), tcp},
		{"merged UDP", "rx_bad_checksum_offload", full, with(func(h *header) { h.checksumOffset = 6 }), tcp},
		{"TCP over the end", "rx_bad_header_length", full, with(func(h *header) { h.checksumStart = 2982 }), tcp},
		{"TCP of 16 bytes", "rx_bad_header_length", full, gso, short},
	} {
		t.Run(c.name, func(t *testing.T) {
			card := newCard(c.features)
			d := mustOpen(t, card, Config{})
			batch := nic.NewBatch(2)
			for i := range 600 { // twice the ring: dropped buffers come back
				if !card.deliver(c.h, c.frame) {
					t.Fatalf("no buffers left after %d frames", i)
				}
				d.Release(batch[:d.Receive(batch)])
			}
			if n := count(d, c.counter); n != 600 {
				t.Errorf("%s is %d", c.counter, n)
			}
			if card.Resets() != 1 {
				t.Errorf("%d resets", card.Resets())
			}
			works(t, d, card)
		})
	}
}

// TestUnmergeable reads num_buffers only when it means something: QEMU before 9
// leaves it 0 without mergeable buffers.
func TestUnmergeable(t *testing.T) {
	c := newCard(full &^ featureMergeable)
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(1)
	c.deliver(header{buffers: 999}, frameOf(60, 0))
	if d.Receive(batch) != 1 {
		t.Fatal("frame is lost")
	}
	d.Release(batch)
	works(t, d, c)
}

func TestBadRelease(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(3)
	c.deliver(header{}, frameOf(60, 0))
	d.Receive(batch[:1])
	batch[1].Buffers = append(batch[1].Buffers, batch[0].Buffers[0])
	batch[2].Buffers = append(batch[2].Buffers, nic.Buffer{ID: 256}, nic.Buffer{ID: 1 << 31})
	d.Release(batch)
	if count(d, "rx_bad_release") != 3 {
		t.Errorf("rx_bad_release is %d", count(d, "rx_bad_release"))
	}
	works(t, d, c)
}

func TestSmallAndLargeRxBuffers(t *testing.T) {
	for _, size := range []int{RxBufferMin, RxBufferMax} {
		c := newCard(full | virtio.FeatureAccessPlatform)
		d := mustOpen(t, c, Config{RxBuffer: size, RxRing: 64})
		if chain, ok := c.Pop(queueReceive); !ok || len(chain.Segments[0].Bytes) != size {
			t.Errorf("RxBuffer %d: lent %d bytes", size, len(chain.Segments[0].Bytes))
		}
		if d.Info().RxRing != 64 {
			t.Errorf("ring of %d", d.Info().RxRing)
		}
	}
}
