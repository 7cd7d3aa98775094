package suites

import (
	"strconv"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

// TestPreemption: a goroutine that loops without a function call delays another
// by 20 ms at most. The machine's time is made of its instructions (-icount),
// so the host has no part in the result.
func TestPreemption(t *testing.T) {
	const most = 20 * time.Millisecond
	for _, machine := range boards {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine, Extra: []string{"-icount", "shift=0,sleep=off"}})
			vm.Seen(t, qemutest.Prompt)
			vm.Type(t, "fault delay\n")
			us, err := strconv.Atoi(vm.ExpectRegexp(t, `worst delay beside a looping goroutine: (\d+) us`)[1])
			if worst := time.Duration(us) * time.Microsecond; err != nil || worst > most {
				t.Errorf("the worst delay is %v, want at most %v", worst, most)
			}
		})
	}
}
