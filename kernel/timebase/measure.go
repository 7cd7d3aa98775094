package timebase

// Measuring the time-stamp counter against a timer of known frequency.

// timer is a free-running counter behind an I/O port.
type timer struct {
	hz   uint64
	mask uint32 // of the counter's bits; it wraps behind them
	read func(m Machine, port uint16) uint32
	port uint16
}

const (
	// pmHz is the frequency of the ACPI PM timer (ACPI 6.4, 4.8.2.1).
	pmHz = 3_579_545
	// pitHz is the frequency of the 8254's input, a third of that.
	pitHz = pmHz / 3

	// windowsPerSecond gives the length of a measurement: 10 ms.
	windowsPerSecond = 100
	// windowsMax is how many good measurements are compared, attemptsMax how
	// many are made for them.
	windowsMax, attemptsMax = 3, 200
	// goodEnough is the part of a window, as its reciprocal, by which the
	// counter may be uncertain without another measurement: 50 ppm.
	goodEnough = 20_000
	// heldUp is the part of a window, as its reciprocal, for which the timer
	// may be out of sight: an emulator that is not running, or a system
	// management interrupt, could otherwise hide a wrap. A window of time T ends
	// at the first look 10 ms or more from its start and may be followed by one
	// more gap, so T <= 10 ms + 2T/heldUp: with 3 it stays below 30 ms, and the
	// 8254 wraps after 55.
	heldUp = 3
	// pairs is how often an instant is taken, for the tightest.
	pairs = 8
	// stuckReads is how often a running timer may read the same. The slowest
	// ticks every 838 ns, in which no machine reads it this often.
	stuckReads = 10_000
	// readsMax bounds the reads of one window.
	readsMax = 1_000_000
)

// instant is a timer's value with the counter before and after it was read.
type instant struct {
	value         uint32
	before, after uint64
}

func (t *timer) now(m Machine) (i instant) {
	i.before = m.RDTSC()
	i.value = t.read(m, t.port) & t.mask
	i.after = m.RDTSC()
	return i
}

// tight returns the least uncertain of several instants.
func (t *timer) tight(m Machine) instant {
	best := t.now(m)
	for range pairs - 1 {
		if i := t.now(m); i.after-i.before < best.after-best.before {
			best = i
		}
	}
	return best
}

// measure returns the counter's frequency, from the least uncertain of a few
// windows.
func (t *timer) measure(m Machine) (hz uint64, why string) {
	var least uint64
	good := 0
	for attempt := 0; attempt < attemptsMax && good < windowsMax; attempt++ {
		from := t.tight(m)
		seen, gap, why := t.pass(m, from)
		if why != "" {
			return 0, why
		}
		to := t.tight(m)
		if to.before <= from.after {
			return 0, "the time-stamp counter does not count"
		}
		// The timer was read somewhere between before and after: from the
		// middle of one to the middle of the other.
		elapsed := (to.after-from.after)/2 + (to.before-from.before)/2
		if gap = max(gap, to.after-seen); gap > elapsed/heldUp {
			continue
		}
		good++
		uncertain := (from.after - from.before) + (to.after - to.before)
		// In parts of the window: windows differ in length.
		part := MulDiv(uncertain, 1<<32, elapsed)
		if good == 1 || part < least {
			least, hz = part, MulDiv(elapsed, t.hz, uint64((to.value-from.value)&t.mask))
		}
		if least < 1<<32/goodEnough {
			break
		}
	}
	if good == 0 {
		return 0, "the processor was held up in every measurement"
	}
	return hz, ""
}

// pass waits until the timer is a window behind from. It returns when the
// timer was last read, by the counter, and the longest time between two reads.
func (t *timer) pass(m Machine, from instant) (seen, gap uint64, why string) {
	window := uint32(t.hz / windowsPerSecond)
	last, same := from.value, 0
	seen = from.before
	for range readsMax {
		v := t.read(m, t.port) & t.mask
		now := m.RDTSC()
		gap, seen = max(gap, now-seen), now
		if (v-from.value)&t.mask >= window {
			return seen, gap, ""
		}
		if v == last {
			if same++; same == stuckReads {
				return 0, 0, "the timer does not count"
			}
			continue
		}
		last, same = v, 0
	}
	return 0, 0, "the timer counts too slowly"
}

func fromPMTimer(m Machine, pm PMTimer) (hz uint64, why string) {
	if pm.Port == 0 {
		return 0, "the ACPI tables name no PM timer"
	}
	t := timer{pmHz, 1<<24 - 1, readPM, pm.Port}
	if pm.Wide {
		t.mask = 1<<32 - 1
	}
	return t.measure(m)
}

func readPM(m Machine, port uint16) uint32 { return m.In32(port) }

// Ports and commands of the 8254 (Intel 8254 data sheet, Control Word Format).
const (
	pitChannel0 = 0x40
	pitControl  = 0x43
	// pitRate makes channel 0 count down by ones and start again, its count
	// given and read low byte first: read/write 3, mode 2, binary.
	pitRate = 3<<4 | 2<<1
	// pitLatch holds channel 0's count for the next two reads.
	pitLatch = 0
)

// fromPIT lets channel 0 run through all 16 bits. Channel 2, which others use
// because it has a gate, hangs on port 0x61, and QEMU's microvm has none.
func fromPIT(m Machine) (hz uint64, why string) {
	m.Out8(pitControl, pitRate)
	m.Out8(pitChannel0, 0)
	m.Out8(pitChannel0, 0)
	t := timer{pitHz, 1<<16 - 1, readPIT, pitChannel0}
	// The count takes effect with the next tick; a read takes longer.
	readPIT(m, pitChannel0)
	return t.measure(m)
}

// readPIT returns the count upside down, so that it goes up.
func readPIT(m Machine, port uint16) uint32 {
	m.Out8(pitControl, pitLatch)
	low := m.In8(port)
	return ^(uint32(low) | uint32(m.In8(port))<<8)
}
