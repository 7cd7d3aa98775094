package suites

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

// TestPreemption: a goroutine that loops without a function call delays another
// by 20 ms at most, also when interrupts come all the time: those of what is
// typed meanwhile. The machine's time is made of its instructions (-icount),
// so the host has no part in the result.
func TestPreemption(t *testing.T) {
	const most = 20 * time.Millisecond
	for _, machine := range boards {
		for name, typed := range map[string]int{"quiet": 0, "interrupted": 2000} {
			t.Run(machine+"/"+name, func(t *testing.T) {
				vm := start(t, qemutest.Config{Machine: machine, Extra: []string{"-icount", "shift=0,sleep=off"}})
				vm.Seen(t, qemutest.Prompt)
				vm.Type(t, "fault delay\n"+strings.Repeat("x", typed))
				us, err := strconv.Atoi(vm.ExpectRegexp(t, `worst delay beside a looping goroutine: (\d+) us`)[1])
				vm.Expect(t, qemutest.Prompt) // while a command runs the shell keeps 1,024 keys and no more
				worst := time.Duration(us) * time.Microsecond
				if t.Logf("the worst delay is %v", worst); err != nil || worst > most {
					t.Errorf("the worst delay is %v, want at most %v", worst, most)
				}
			})
		}
	}
}
