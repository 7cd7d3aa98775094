package suites

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

// TestClock: the kernel has calibrated its counter, has taken the date from
// the RTC, and a second of its clock is not much shorter than one of ours. (It
// may be longer: this host may stop the machine at any time.)
func TestClock(t *testing.T) {
	for _, machine := range machines {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine, Net: qemutest.RawWire})
			line := vm.ExpectRegexp(t, `clock tsc_hz=(\d+) by=("[^"]*"|\S*) now=(\S+)`)
			if line[1] == "0" {
				t.Errorf("the counter is not calibrated: %s", line[0])
			}
			now, err := time.Parse(time.RFC3339, line[3])
			if off := time.Since(now).Abs(); err != nil || off > time.Hour {
				t.Errorf("the machine's date is off by %v, %v: %s", off, err, line[0])
			}
			vm.Seen(t, qemutest.Prompt)
			begin := time.Now()
			text := vm.Command(t, "ping -c 3 127.0.0.1") // two seconds, answered or not
			if !strings.Contains(text, "3 packets transmitted,") {
				t.Fatalf("ping -c 3 127.0.0.1 printed:\n%s", text)
			}
			if took := time.Since(begin); took < time.Second {
				t.Errorf("two seconds of the machine's clock took %v", took)
			}
		})
	}
}

// TestClockSource: the counter is calibrated by the source that is trusted most of those that the
// machine has. Under emulation CPUID tells no frequency, and microvm has no PM timer. The machine's
// time is made of its instructions, a nanosecond each, so that nothing holds a measurement up, and
// the counter's frequency is known.
func TestClockSource(t *testing.T) {
	const hz, off = 1_000_000_000, 100_000 // 100 ppm
	for machine, want := range map[string]string{"microvm": "PIT", "q35": `"ACPI PM timer"`, "pc": `"ACPI PM timer"`} {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine, Extra: []string{"-icount", "shift=0,sleep=off"}})
			line := vm.ExpectRegexp(t, `clock tsc_hz=(\d+) by=("[^"]*"|\S*) `)
			if line[2] != want {
				t.Errorf("the counter is calibrated by %s, want %s", line[2], want)
			}
			if got := number(t, line[1]); got < hz-off || got > hz+off {
				t.Errorf("the counter has %d Hz, want %d within %d", got, hz, off)
			}
			powerOff(t, vm)
		})
	}
}
