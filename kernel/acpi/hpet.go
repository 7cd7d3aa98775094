package acpi

// The HPET table (IA-PC HPET Specification 1.0a, 3.2.4).

import "encoding/binary"

// HPET is the first event timer block.
type HPET struct {
	Address uint64 // physical, of its registers
	ID      uint32 // as its capability register's low half
	MinTick uint16 // least period without lost interrupts, in its ticks
}

const (
	hpetID      = 36
	hpetAddress = 40
	hpetNumber  = 52
	hpetMinTick = 53
	hpetSize    = 56
)

func (p *parser) parseHPET(t []byte) {
	if len(t) < hpetSize {
		p.problem("HPET: %d bytes are too few", len(t))
		return
	}
	r := register(t, hpetAddress)
	if r.Space != SystemMemory || !r.Exists() {
		p.problem("HPET: block %d at %v is left out: want an address in memory", t[hpetNumber], r)
		return
	}
	if p.HPET == nil {
		p.HPET = &HPET{r.Address, binary.LittleEndian.Uint32(t[hpetID:]), binary.LittleEndian.Uint16(t[hpetMinTick:])}
	}
}
