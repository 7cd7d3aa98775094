package timebase

import (
	"fmt"
	"strings"
	"testing"
)

// sim is a machine whose time passes with each access.
type sim struct {
	hz       uint64 // of the counter; 0: it stands still
	leaves   map[uint32][4]uint32
	pmPort   uint16 // 0: absent
	pmMask   uint32
	pmStart  uint64
	pmStuck  bool
	pmStep   uint64 // how many ticks the timer jumps at a time; 0: 1
	pit      bool
	hold     uint64 // every how many accesses the machine is held up for holdFor; 0: never
	holdFor  uint64 // picoseconds
	now      uint64 // picoseconds
	accesses uint64

	mode      uint8
	loaded    uint64 // when the count was given
	writes    int
	latch     uint16
	latched   bool
	highByte  bool
	hostility error
}

const (
	ps        = 1_000_000_000_000 // in a second
	portCost  = 700_000
	clockCost = 15_000
)

func (s *sim) pass(cost uint64) {
	s.now += cost
	s.accesses++
	if s.hold > 0 && s.accesses%s.hold == 0 {
		s.now += s.holdFor
	}
}

func (s *sim) CPUID(leaf, sub uint32) (a, b, c, d uint32) {
	v := s.leaves[leaf]
	return v[0], v[1], v[2], v[3]
}

func (s *sim) RDTSC() uint64 {
	s.pass(clockCost)
	return MulDiv(s.now, s.hz, ps)
}

func (s *sim) In32(port uint16) uint32 {
	s.pass(portCost)
	if port != s.pmPort || s.pmPort == 0 {
		return ^uint32(0)
	}
	ticks := s.pmStart
	if !s.pmStuck {
		ticks += MulDiv(s.now, pmHz, ps)
	}
	if s.pmStep > 0 {
		ticks -= ticks % s.pmStep
	}
	return uint32(ticks) & s.pmMask
}

func (s *sim) count() uint16 { return uint16(0 - MulDiv(s.now-s.loaded, pitHz, ps)) }

func (s *sim) In8(port uint16) uint8 {
	s.pass(portCost)
	if !s.pit || port != pitChannel0 {
		return 0xff
	}
	if !s.latched {
		s.hostility = fmt.Errorf("the count is read without a latch")
	}
	s.highByte = !s.highByte
	if s.highByte {
		return uint8(s.latch)
	}
	s.latched = false
	return uint8(s.latch >> 8)
}

func (s *sim) Out8(port uint16, v uint8) {
	s.pass(portCost)
	switch {
	case !s.pit:
	case port == pitControl && v == pitLatch:
		if s.writes != 2 {
			s.hostility = fmt.Errorf("latch after %d bytes of the count", s.writes)
		}
		s.latch, s.latched = s.count(), true
	case port == pitControl && v>>6 == 0:
		s.mode, s.writes = v, 0
	case port == pitChannel0 && s.mode == pitRate && v == 0 && s.writes < 2:
		if s.writes++; s.writes == 2 {
			s.loaded = s.now
		}
	default:
		s.hostility = fmt.Errorf("write of %#x to port %#x", v, port)
	}
}

const hypervisor = uint32(featureHypervisor)

func kvm(most uint32) [4]uint32 {
	return [4]uint32{most, signatureKVM[0], signatureKVM[1], signatureKVM[2]}
}

func TestCalibrate(t *testing.T) {
	const hz = 2_394_454_321
	wide := PMTimer{0x608, true}
	for _, c := range []struct {
		name    string
		m       sim
		pm      PMTimer
		hz      uint64 // 0: hz, measured
		source  Source
		missing string // parts of it, by semicolons
	}{
		{
			name: "crystal",
			m: sim{hz: hz, leaves: map[uint32][4]uint32{
				0: {0x16}, 0x15: {2, 200, 24_000_000}, 0x16: {2000},
			}},
			hz: 2_400_000_000, source: CPUIDCrystal,
		},
		{
			name: "no crystal but a base frequency",
			m:    sim{hz: hz, leaves: map[uint32][4]uint32{0: {0x16}, 0x15: {2, 200}, 0x16: {2100}}},
			hz:   2_100_000_000, source: CPUIDCrystal,
		},
		{
			name: "a crystal that would make 4.6 EHz",
			m: sim{hz: hz, leaves: map[uint32][4]uint32{
				0: {0x15}, 0x15: {1, 1<<32 - 1, 1<<32 - 1},
			}, pit: true},
			source: PIT, missing: "CPUID: the frequency is out of range",
		},
		{
			name: "no ratio, KVM leaf",
			m: sim{hz: hz, leaves: map[uint32][4]uint32{
				0: {0x16}, 1: {0, 0, hypervisor, 0}, leafHypervisor: kvm(leafTiming), leafTiming: {2_394_454},
			}},
			hz: 2_394_454_000, source: KVMLeaf, missing: "CPUID: leaf 0x15 tells no ratio",
		},
		{
			name: "KVM without the leaf, PM timer",
			m: sim{hz: hz, pmPort: 0x608, pmMask: 1<<32 - 1, leaves: map[uint32][4]uint32{
				0: {0x15}, 0x15: {1, 2, 0}, 1: {0, 0, hypervisor, 0}, leafHypervisor: kvm(0x40000001),
			}},
			pm: wide, source: ACPITimer,
			missing: "CPUID: leaf 0x15 tells no crystal and there is no leaf 0x16; hypervisor CPUID leaf: the hypervisor has no leaf",
		},
		{
			name: "emulator, PM timer",
			m: sim{hz: hz, pmPort: 0x608, pmMask: 1<<32 - 1, leaves: map[uint32][4]uint32{
				0: {0xd}, 1: {0, 0, hypervisor, 0}, leafHypervisor: {0x40000001, 0x54474354, 0x43544743, 0x47435447},
			}},
			pm: wide, source: ACPITimer,
			missing: "CPUID: there is no leaf 0x15; hypervisor CPUID leaf: the hypervisor is neither KVM nor VMware",
		},
		{
			name: "PM timer of 24 bits that wraps",
			m:    sim{hz: hz, pmPort: 0x608, pmMask: 1<<24 - 1, pmStart: 1<<24 - 1000},
			pm:   PMTimer{0x608, false}, source: ACPITimer,
			missing: "hypervisor CPUID leaf: there is no hypervisor",
		},
		{
			name: "PM timer of 32 bits that wraps",
			m:    sim{hz: hz, pmPort: 0x608, pmMask: 1<<32 - 1, pmStart: 1<<32 - 1000},
			pm:   wide, source: ACPITimer,
		},
		{
			name: "PM timer of 24 bits with ones above",
			m:    sim{hz: hz, pmPort: 0x608, pmMask: 1<<32 - 1, pmStart: 0xff<<24 + 1<<24 - 1000},
			pm:   PMTimer{0x608, false}, source: ACPITimer,
		},
		{
			name: "PM timer that is not there",
			m:    sim{hz: hz, pit: true},
			pm:   wide, source: PIT, missing: "ACPI PM timer: the timer does not count",
		},
		{
			name: "PM timer that is stuck",
			m:    sim{hz: hz, pmPort: 0x608, pmMask: 1<<24 - 1, pmStuck: true, pit: true},
			pm:   wide, source: PIT, missing: "ACPI PM timer: the timer does not count",
		},
		{
			name:   "no PM timer told",
			m:      sim{hz: hz, pit: true},
			source: PIT, missing: "ACPI PM timer: the ACPI tables name no PM timer",
		},
		{
			// 100 ms out of sight hide almost two wraps of the PIT.
			name: "held up now and then", m: sim{hz: hz, pit: true, hold: 30_000, holdFor: ps / 10}, source: PIT,
		},
		{
			name: "always held up", m: sim{hz: hz, pit: true, hold: 1000, holdFor: ps / 100}, source: sourceCount,
			missing: "PIT: the processor was held up in every measurement",
		},
		{
			name: "a counter that stands still", m: sim{pit: true}, source: sourceCount,
			missing: "PIT: the time-stamp counter does not count",
		},
		{
			name: "nothing at all", m: sim{hz: hz}, source: sourceCount, missing: "PIT: the timer does not count",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Calibrate(&c.m, c.pm)
			if c.m.hostility != nil {
				t.Error(c.m.hostility)
			}
			want, slack := c.hz, uint64(0)
			if c.source == ACPITimer || c.source == PIT {
				want, slack = hz, hz/2000 // 500 ppm
			}
			if r.Source != c.source || r.Hz+slack < want || r.Hz > want+slack {
				t.Errorf("got %d Hz by %v, want %d by %v", r.Hz, r.Source, want, c.source)
			}
			var missing []string
			r.Missing(func(s Source, why string) {
				if s >= r.Source {
					t.Errorf("%v is missing and %v was used", s, r.Source)
				}
				missing = append(missing, s.String()+": "+why)
			})
			for part := range strings.SplitSeq(c.missing, "; ") {
				if !strings.Contains(strings.Join(missing, "; "), part) {
					t.Errorf("missing %q, want %q", missing, part)
				}
			}
			if c.m.now > 5*ps {
				t.Errorf("took %d ms of the machine's time", c.m.now/(ps/1000))
			}
		})
	}
}

func TestSlowTimerIsGivenUp(t *testing.T) {
	// Counts once in 5,000 reads: never long enough without change.
	m := &sim{hz: 1_000_000_000, pmPort: 0x608, pmMask: 1<<32 - 1}
	reads := uint32(0)
	slow := timer{pmHz, 1<<32 - 1, func(m Machine, _ uint16) uint32 { reads++; return reads / 5000 }, 0}
	if hz, why := slow.measure(m); hz != 0 || why != "the timer counts too slowly" {
		t.Errorf("%d Hz, %q", hz, why)
	}
}

func TestCalibrateAllocatesNothing(t *testing.T) {
	m := &sim{hz: 1_000_000_000, pit: true}
	if n := testing.AllocsPerRun(3, func() { Calibrate(m, PMTimer{0x608, true}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
