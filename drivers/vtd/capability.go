// This file owns what a unit says that it can do, and what of that is needed.

package vtd

import (
	"errors"
	"fmt"
)

// Capability is what a unit can do, as far as it is used.
type Capability struct {
	Levels  int // of its page tables: 3, 4 or 5
	Bits    int // of the addresses that a device can be given
	Domains int // that it can tell apart
	Records int // fault recording registers
	// Coherent says that it sees table entries in the processor's caches;
	// otherwise they must be written back.
	Coherent bool

	faultOffset uint64 // of the first fault recording register
	caching     bool   // it may remember what was not mapped (caching mode)
	snoop       bool   // table entries can force coherent accesses
	drain       uint64 // what an invalidation can wait for
	protected   bool   // it has protected memory ranges
}

// Fields of the capability register (10.4.2).
const (
	capNDMask     = 7
	capRWBF       = 1 << 4
	capPLMR       = 1 << 5
	capPHMR       = 1 << 6
	capCM         = 1 << 7
	capSAGAWShift = 8
	capMGAWShift  = 16
	capMGAWMask   = 0x3f
	capFROShift   = 24
	capFROMask    = 0x3ff
	capNFRShift   = 40
	capNFRMask    = 0xff
	capDWD        = 1 << 54
	capDRD        = 1 << 55
)

// Fields of the extended capability register (10.4.3).
const (
	ecapC  = 1 << 0
	ecapQI = 1 << 1
	ecapSC = 1 << 7
)

const (
	bitsPerLevel = 9
	pageShift    = 12
	// bitsMin leaves room for devices' memory from busFirst on.
	bitsMin = 36
)

// parseCapability reads the three registers and refuses a unit that cannot be
// used.
func parseCapability(version uint32, cap, ecap uint64) (c Capability, err error) {
	if version == ^uint32(0) && cap == ^uint64(0) {
		return c, errors.New("nothing answers")
	}
	if ecap&ecapQI == 0 {
		return c, errors.New("it has no queued invalidation")
	}
	if cap&capRWBF != 0 {
		return c, errors.New("its write buffer must be flushed by hand")
	}
	nd := cap & capNDMask
	if nd == 7 {
		return c, fmt.Errorf("capability %#x has a reserved number of domains", cap)
	}
	c = Capability{
		Domains:     1 << (4 + 2*nd),
		Records:     int(cap>>capNFRShift&capNFRMask) + 1,
		Coherent:    ecap&ecapC != 0,
		faultOffset: (cap >> capFROShift & capFROMask) * faultBytes,
		caching:     cap&capCM != 0,
		snoop:       ecap&ecapSC != 0,
		protected:   cap&(capPLMR|capPHMR) != 0,
	}
	if cap&capDWD != 0 {
		c.drain |= drainWrites
	}
	if cap&capDRD != 0 {
		c.drain |= drainReads
	}
	if c.faultOffset < fixedBytes {
		return c, fmt.Errorf("capability %#x puts the fault records at %#x, among other registers", cap, c.faultOffset)
	}
	// The fewest levels that it has are the fastest to walk.
	for c.Levels = 3; cap>>capSAGAWShift&(1<<(c.Levels-2)) == 0; c.Levels++ {
		if c.Levels == 5 {
			return c, fmt.Errorf("capability %#x has page tables of neither 3, 4 nor 5 levels", cap)
		}
	}
	c.Bits = min(int(cap>>capMGAWShift&capMGAWMask)+1, pageShift+c.Levels*bitsPerLevel)
	if c.Bits < bitsMin {
		return c, fmt.Errorf("devices have addresses of %d bits, need at least %d", c.Bits, bitsMin)
	}
	return c, nil
}

// registersEnd is where the registers of a unit end.
func (c Capability) registersEnd() uint64 {
	return max(fixedBytes, c.faultOffset+uint64(c.Records)*faultBytes)
}
