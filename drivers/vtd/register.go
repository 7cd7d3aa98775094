// This file owns the registers of a unit and the words of its tables, by the names
// of the specification.

package vtd

import "fmt"

// Registers (10.4). Those of 64 bits are accessed in aligned halves (10.2).
const (
	regVER     = 0x00 // version
	regCAP     = 0x08 // capability, 64 bits
	regECAP    = 0x10 // extended capability, 64 bits
	regGCMD    = 0x18 // global command
	regGSTS    = 0x1c // global status
	regRTADDR  = 0x20 // root table address, 64 bits
	regFSTS    = 0x34 // fault status
	regFECTL   = 0x38 // fault event control
	regFEDATA  = 0x3c // fault event data
	regFEADDR  = 0x40 // fault event address
	regFEUADDR = 0x44 // its upper half
	regPMEN    = 0x64 // protected memory enable
	regIQH     = 0x80 // invalidation queue head, 64 bits
	regIQT     = 0x88 // invalidation queue tail, 64 bits
	regIQA     = 0x90 // invalidation queue address, 64 bits

	// fixedBytes is where the registers end whose place does not differ from
	// unit to unit (IRTA and the page request queue are the last ones).
	fixedBytes = 0xf0
)

// Bits of GCMD and GSTS (10.4.4, 10.4.5).
const (
	globalTE   = 1 << 31 // translation
	globalSRTP = 1 << 30 // take the root table
	globalEAFL = 1 << 28 // advanced fault log
	globalQIE  = 1 << 26 // queued invalidation
	globalIRE  = 1 << 25 // interrupt remapping

	// globalKept are the bits of GSTS that a write to GCMD must repeat; the
	// others are commands that were given once.
	globalKept = 0x96ffffff
)

// Bits of FSTS (10.4.9), FECTL (10.4.10) and PMEN (10.4.16).
const (
	fstsPFO = 1 << 0 // faults were lost
	fstsPPF = 1 << 1 // a fault is recorded
	fstsIQE = 1 << 4 // a descriptor is wrong
	fstsICE = 1 << 5 // a device answered an invalidation that nobody sent
	fstsITE = 1 << 6 // a device did not answer one

	fstsQueueErrors = fstsIQE | fstsICE | fstsITE

	fstsFRIShift = 8 // of the first recorded fault's register
	fstsFRIMask  = 0xff

	fectlIM = 1 << 31 // no interrupts

	pmenEPM = 1 << 31 // protected ranges are on
	pmenPRS = 1 << 0  // they are in force
)

// Fields of a fault recording register, which has 128 bits, by its 32-bit words
// (10.4.14).
const (
	faultBytes = 16

	faultReasonMask = 0xff    // word 3
	faultRead       = 1 << 30 // word 3
	faultValid      = 1 << 31 // word 3; written to clear the record
)

// Entries of the root table (9.1) and of context tables (9.3), two words each, and
// of second-level page tables (9.8).
const (
	rootPresent = 1 << 0

	contextPresent  = 1 << 0 // low word; translation type 0: through the tables
	contextAWShift  = 0      // high word: levels - 2
	contextDIDShift = 8      // high word: domain

	pageRead  = 1 << 0
	pageWrite = 1 << 1
	pageSnoop = 1 << 11

	addrMask = 0x000f_ffff_ffff_f000
)

// Descriptors of the invalidation queue (6.5.2), two words each.
const (
	descriptorBytes = 16

	invalidateContext = 1 // context cache
	invalidateIOTLB   = 2
	invalidateWait    = 5

	granularityGlobal  = 1 << 4
	granularityDomain  = 2 << 4 // of the IOTLB
	granularityDevice  = 3 << 4 // of the context cache
	drainWrites        = 1 << 6
	drainReads         = 1 << 7
	descriptorDIDShift = 16
	descriptorSIDShift = 32

	waitStatusWrite = 1 << 5
	waitDataShift   = 32
)

// polls bounds each wait for the hardware. A turn reads a register, which takes
// a good part of a microsecond.
const polls = 1 << 18

func (u *Unit) read64(off uint64) uint64 {
	return uint64(u.regs.Read32(off)) | uint64(u.regs.Read32(off+4))<<32
}

// write64 writes the low half first: of registers that act, the upper half does.
func (u *Unit) write64(off uint64, v uint64) {
	u.regs.Write32(off, uint32(v))
	u.regs.Write32(off+4, uint32(v>>32))
}

// command turns one bit of the global command register on or off and waits until
// the status shows it (10.4.4).
func (u *Unit) command(name string, bit uint32, on bool) error {
	v := u.regs.Read32(regGSTS) & globalKept &^ bit
	if on {
		v |= bit
	}
	u.regs.Write32(regGCMD, v)
	for range polls {
		if (u.regs.Read32(regGSTS)&bit != 0) == on {
			return nil
		}
	}
	state := "off"
	if on {
		state = "on"
	}
	return fmt.Errorf("%s does not turn %s: the global status stays %#x", name, state, u.regs.Read32(regGSTS))
}
