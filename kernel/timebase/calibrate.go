package timebase

// The frequency of the time-stamp counter: who is asked, in order of trust.

// Machine is the hardware that a frequency is found with. Ports that are not
// there read as all ones.
type Machine interface {
	CPUID(leaf, sub uint32) (a, b, c, d uint32)
	RDTSC() uint64
	In8(port uint16) uint8
	In32(port uint16) uint32
	Out8(port uint16, v uint8)
}

// PMTimer is the ACPI power-management timer as the FADT describes it.
type PMTimer struct {
	Port uint16 // 0: there is none
	Wide bool   // it has 32 bits, else 24
}

// Source is a way to find the frequency.
type Source uint8

// The sources, most trusted first.
const (
	CPUIDCrystal Source = iota // CPUID 0x15, and 0x16 for the crystal
	KVMLeaf                    // CPUID 0x40000010 of KVM and VMware
	ACPITimer                  // measured against the PM timer
	PIT                        // measured against channel 0 of the 8254
	sourceCount
)

var sourceNames = [sourceCount]string{"CPUID", "hypervisor CPUID leaf", "ACPI PM timer", "PIT"}

// String returns the source's name.
func (s Source) String() string {
	if s >= sourceCount {
		return "none"
	}
	return sourceNames[s]
}

// Frequencies outside of these are not believed, in Hz.
const (
	hzMin = 1_000_000
	hzMax = 100_000_000_000
)

// Result is what Calibrate has found.
type Result struct {
	// Hz is the counter's frequency; 0 when no source told it.
	Hz uint64
	// Source told it.
	Source Source

	missing [sourceCount]string
}

// Missing calls f with each source that was asked before, or without, success
// and what was wrong with it.
func (r *Result) Missing(f func(s Source, why string)) {
	for s, why := range r.missing {
		if why != "" {
			f(Source(s), why)
		}
	}
}

// Calibrate finds the frequency of the time-stamp counter. It takes up to
// about 30 ms for each of the two sources that have to be measured. It uses
// channel 0 of the PIT, whose interrupt must be masked.
func Calibrate(m Machine, pm PMTimer) (r Result) {
	for s := CPUIDCrystal; s < sourceCount; s++ {
		var hz uint64
		var why string
		switch s {
		case CPUIDCrystal:
			hz, why = fromCrystal(m)
		case KVMLeaf:
			hz, why = fromHypervisor(m)
		case ACPITimer:
			hz, why = fromPMTimer(m, pm)
		case PIT:
			hz, why = fromPIT(m)
		}
		if why == "" && (hz < hzMin || hz > hzMax) {
			why = "the frequency is out of range (1 MHz to 100 GHz)"
		}
		if why == "" {
			r.Hz, r.Source = hz, s
			return r
		}
		r.missing[s] = why
	}
	r.Source = sourceCount
	return r
}

// CPUID leaves (SDM volume 2, CPUID).
const (
	leafMost       = 0
	leafFeatures   = 1
	leafTSC        = 0x15
	leafFrequency  = 0x16
	leafHypervisor = 0x4000_0000
	leafTiming     = 0x4000_0010

	featureHypervisor = 1 << 31 // leafFeatures, ECX
)

// fromCrystal computes the frequency from the ratio of the counter to the
// processor's crystal and the crystal's frequency or, when that is not told,
// the processor's base frequency, which has the same ratio to it (SDM volume
// 3, 18.18.3).
func fromCrystal(m Machine) (hz uint64, why string) {
	most, _, _, _ := m.CPUID(leafMost, 0)
	if most < leafTSC {
		return 0, "there is no leaf 0x15"
	}
	denominator, numerator, crystal, _ := m.CPUID(leafTSC, 0)
	if denominator == 0 || numerator == 0 {
		return 0, "leaf 0x15 tells no ratio"
	}
	if crystal != 0 {
		return MulDiv(uint64(crystal), uint64(numerator), uint64(denominator)), ""
	}
	if most < leafFrequency {
		return 0, "leaf 0x15 tells no crystal and there is no leaf 0x16"
	}
	base, _, _, _ := m.CPUID(leafFrequency, 0)
	if base &= 0xffff; base == 0 {
		return 0, "leaf 0x15 tells no crystal and leaf 0x16 no base frequency"
	}
	return uint64(base) * 1_000_000, ""
}

// fromHypervisor reads the leaf that VMware defined and KVM has too: EAX is
// the counter's frequency in kHz.
func fromHypervisor(m Machine) (hz uint64, why string) {
	if _, _, c, _ := m.CPUID(leafFeatures, 0); c&featureHypervisor == 0 {
		return 0, "there is no hypervisor"
	}
	most, b, c, d := m.CPUID(leafHypervisor, 0)
	signature := [3]uint32{b, c, d}
	if signature != signatureKVM && signature != signatureVMware {
		return 0, "the hypervisor is neither KVM nor VMware"
	}
	if most < leafTiming {
		return 0, "the hypervisor has no leaf 0x40000010"
	}
	khz, _, _, _ := m.CPUID(leafTiming, 0)
	if khz == 0 {
		return 0, "leaf 0x40000010 tells no frequency"
	}
	return uint64(khz) * 1000, ""
}

// Signatures of leafHypervisor in EBX, ECX, EDX.
var (
	signatureKVM    = [3]uint32{0x4b4d564b, 0x564b4d56, 0x4d}       // "KVMKVMKVM"
	signatureVMware = [3]uint32{0x61774d56, 0x4d566572, 0x65726177} // "VMwareVMware"
)
