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
			text := vm.Command(t, "ping -c 3 127.0.0.1") // two seconds
			if !strings.Contains(text, " 3 received,") {
				t.Fatalf("ping -c 3 127.0.0.1 printed:\n%s", text)
			}
			if took := time.Since(begin); took < time.Second {
				t.Errorf("two seconds of the machine's clock took %v", took)
			}
		})
	}
}
