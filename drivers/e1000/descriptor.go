// This file owns the descriptors: 16 bytes each, in rings that the device reads and
// writes.

package e1000

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

// descriptor is one of either ring. The device writes word, whole or in part; addr it
// only reads.
type descriptor struct {
	addr uint64
	word uint64
}

const descBytes = 16

// The receive descriptor's word (chapter 3.2): length, checksum, status, errors, VLAN tag.
const (
	rxLengthMask = 0xffff
	rxDD         = 1 << 32
	rxEOP        = 1 << 33
	rxIXSM       = 1 << 34
	rxTCPCS      = 1 << 37 // the sum of TCP or UDP was looked at
	rxCE         = 1 << 40
	rxSE         = 1 << 41
	rxSEQ        = 1 << 42
	rxCXE        = 1 << 44
	rxTCPE       = 1 << 45
	rxRXE        = 1 << 47

	// rxFrameErrors are those that leave nothing of a frame to look at.
	rxFrameErrors = rxCE | rxSE | rxSEQ | rxCXE | rxRXE
)

// The data descriptor's word (chapter 3.3), and what of it the context descriptor's word
// (3.3.6) has too.
const (
	txTypeData = 1 << 20
	txEOP      = 1 << 24
	txIFCS     = 1 << 25
	txTSE      = 1 << 26
	txRS       = 1 << 27
	txDEXT     = 1 << 29
	txDD       = 1 << 32
	txIXSM     = 1 << 40 // POPTS: insert the sum of the IP header
	txTXSM     = 1 << 41 // POPTS: insert the sum of TCP or UDP

	ctxTCP = 1 << 24 // TUCMD
	ctxIP  = 1 << 25 // IPv4
)

// ring is descriptors in device memory. Nothing that the driver decides by lies there.
type ring struct {
	memory hw.Memory
	desc   []descriptor
}

// The device wants rings of whole cache lines (13.4.38): a multiple of 8 descriptors.
const (
	ringMin = 8
	ringMax = 4096
)

func newRing(mem *hw.DMA, size int) (r ring, err error) {
	if r.memory, err = mem.Alloc(size*descBytes, hw.Both); err != nil {
		return r, fmt.Errorf("memory for a ring of %d descriptors: %w", size, err)
	}
	// The memory is page-aligned, not of the Go heap, as long as was asked for at
	// least, and stays until free.
	r.desc = unsafe.Slice((*descriptor)(unsafe.Pointer(&r.memory.Bytes[0])), size)
	return r, nil
}

func (r *ring) free(mem *hw.DMA) {
	if r.memory.Bytes != nil {
		mem.Free(r.memory)
	}
}

// set writes a descriptor that the device does not look at yet.
func (r *ring) set(slot uint32, addr, word uint64) {
	d := &r.desc[slot]
	d.addr = addr
	atomic.StoreUint64(&d.word, word)
}

// word reads once what the device has written.
func (r *ring) word(slot uint32) uint64 { return atomic.LoadUint64(&r.desc[slot].word) }
