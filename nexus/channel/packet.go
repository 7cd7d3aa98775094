package channel

import (
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/pool"
)

// words reads a structure in shared memory, each of its words once.
func words(dst *[abi.PacketSize / 8]uint64, src *abi.Packet) {
	from := (*[abi.PacketSize / 8]uint64)(unsafe.Pointer(src))
	for i := range dst {
		dst[i] = atomic.LoadUint64(&from[i])
	}
}

// readPacket copies the metadata of a packet that the domain names, each word read once. The
// packet must be lent to it.
func (c *Channel) readPacket(i uint32, p *abi.Packet) error {
	if err := c.packets.Return(i); err != nil {
		return err
	}
	// The structure is 64 bytes at a multiple of 64.
	words((*[abi.PacketSize / 8]uint64)(unsafe.Pointer(p)), c.arena.Packet(i))
	if p.Redzone != redzone(c.cookie, i) || p.Index != i {
		return ErrRedzone
	}
	return nil
}

// returnBuflet takes a buflet back that the domain names.
func (c *Channel) returnBuflet(i uint32) error {
	if c.small.Has(i) {
		return c.small.Return(i)
	}
	return c.large.Return(i)
}

func (c *Channel) putBuflet(i uint32) {
	if c.small.Has(i) {
		c.small.Put(i)
	} else {
		c.large.Put(i)
	}
}

// returnChain takes a chain back and notes it in list. Each buflet must be
// lent, so that a chain cannot have one twice.
func (c *Channel) returnChain(list *[abi.BufletsMax]uint32, first, n uint32) error {
	if n > abi.BufletsMax {
		return ErrChain
	}
	for k := range n {
		if err := c.returnBuflet(first); err != nil {
			return err
		}
		list[k] = first
		first = atomic.LoadUint32(&c.arena.Buflet(first).Next)
	}
	return nil
}

// putPacket frees a packet with its buflets.
func (c *Channel) putPacket(i uint32, buflets []uint32) {
	for _, b := range buflets {
		if c.small.Has(b) {
			c.small.Put(b)
		} else {
			c.large.Put(b)
		}
	}
	c.packets.Put(i)
}

// Packet is one that the domain sends: its data still lies in shared memory, so
// whoever takes it copies it before looking at it.
type Packet struct {
	Length int
	// Pieces is where the data lies, in order: Length bytes in all.
	Pieces [][]byte
	// Flow and Generation are the domain's claim; 0 for none.
	Flow, Generation uint32
	// Checksum says that the sum from ChecksumStart on is asked for; see
	// abi.PacketChecksum.
	Checksum                      bool
	ChecksumStart, ChecksumOffset int
	// SegmentSize is not 0 for a packet that is to be cut behind HeaderLen
	// bytes.
	SegmentSize, HeaderLen int
	Class                  uint32
	// TxTime is when it is to leave, as the domain wrote it: see abi.Packet.
	TxTime uint64
	// Lifetime is for how many microseconds it is worth sending, abi.LifetimeMax at most; 0: for
	// ever.
	Lifetime uint32
	// Asks are those of abi.PacketReports that it has, and Cookie is its name in reports.
	Asks, Cookie uint32
	// Behind is how many packets are in the ring behind it.
	Behind int
	// Batch is that of all packets that are taken until the ring has no more.
	Batch  uint32
	pieces [abi.BufletsMax][]byte
}

// workMax is how many frames are sent between two questions whether it takes too long, and
// frameWork what one frame carries at least of a packet that is not cut, in bytes.
const workMax, frameWork = 64, 1024

// transmit sends what is in the tx ring, until send reports false or sliceOver, if not nil,
// true: the rest stays for the next time. Both locks are held; send runs without c.mu.
func (c *Channel) transmit(send func(*Packet) bool, sliceOver func() bool) (paused bool, err error) {
	r := c.rings[abi.RingTx]
	var v abi.Packet
	for r.Filled() > 0 && c.over == nil {
		if c.work >= workMax {
			c.work = 0
			if paused = sliceOver != nil && sliceOver(); paused {
				break
			}
		}
		s := r.Take()
		if s.Kind != abi.SlotPacket {
			return false, c.violated(abi.RingTx, ErrSlot)
		}
		err := c.readPacket(s.Index, &v)
		if err == nil {
			err = c.returnChain(&c.returned, v.First, v.Buflets)
		}
		if err == nil {
			err = c.internalize(&v)
		}
		if err != nil {
			return false, c.violated(abi.RingTx, err)
		}
		frame := frameWork
		if c.out.SegmentSize != 0 {
			frame = c.out.SegmentSize
		}
		c.work += 1 + c.out.Length/frame
		c.mu.Unlock()
		gone := send(&c.out)
		c.mu.Lock()
		if !gone {
			// The domain has sent it once and for all: it is lent again only
			// for the account.
			c.counts.TxStalled++
			c.packets.Lend(s.Index, pool.Empty)
			for _, b := range c.returned[:v.Buflets] {
				c.lendBuflet(b, pool.Empty)
			}
			r.Untake()
			break
		}
		if c.hook != nil {
			c.hook(sent, 0, c.out.Length)
		}
		c.counts.TxPackets++
		c.counts.TxBytes += uint64(v.Length)
		c.putPacket(s.Index, c.returned[:v.Buflets])
	}
	if r.Filled() == 0 {
		c.batch++
	}
	if c.hook != nil {
		c.hook(ended, 0, 0)
	}
	r.Return()
	c.showReports()
	return paused, nil
}

func (c *Channel) lendBuflet(i uint32, why pool.Loan) {
	if c.small.Has(i) {
		c.small.Lend(i, why)
	} else {
		c.large.Lend(i, why)
	}
}

// internalize makes c.out of what the domain wrote, or says what is wrong with
// it. The chain's indexes are in c.returned; limits and addresses of buffers are the
// kernel's own.
func (c *Channel) internalize(v *abi.Packet) error {
	if v.Buflets == 0 || v.Length == 0 || v.Length > abi.PacketMax {
		return ErrInternal
	}
	out := &c.out
	out.Pieces = out.pieces[:0]
	total := uint32(0)
	for _, i := range c.returned[:v.Buflets] {
		shared := c.arena.Buflet(i)
		offset, length := atomic.LoadUint32(&shared.Offset), atomic.LoadUint32(&shared.Length)
		buffer := c.arena.Buffer(i)
		if limit := uint32(len(buffer)); offset > limit || length > limit-offset {
			return ErrInternal
		}
		out.Pieces = append(out.Pieces, buffer[offset:offset+length])
		total += length // 33 buffers of 16 KiB at most
	}
	if total != v.Length {
		return ErrInternal
	}
	out.Batch, out.Behind = c.batch, c.rings[abi.RingTx].Filled()
	out.Length, out.Flow, out.Generation, out.Class, out.TxTime = int(v.Length), v.Flow, v.Generation, v.Class, v.TxTime
	out.Lifetime = min(v.Lifetime, abi.LifetimeMax)
	out.Asks, out.Cookie = v.Flags&abi.PacketReports, v.Cookie
	out.ChecksumStart, out.ChecksumOffset = int(v.ChecksumStart), int(v.ChecksumOffset)
	out.Checksum = v.Flags&abi.PacketChecksum != 0
	if start, field := out.ChecksumStart, out.ChecksumStart+out.ChecksumOffset; start > out.Length || field+2 > out.Length {
		out.Checksum = false // not an error, but nothing that can be done either
	}
	out.SegmentSize, out.HeaderLen = 0, 0
	if v.Flags&abi.PacketGSO != 0 && v.SegmentSize > 0 && uint32(v.HeaderLen) < v.Length {
		out.SegmentSize, out.HeaderLen = int(v.SegmentSize), int(v.HeaderLen)
	}
	return nil
}
