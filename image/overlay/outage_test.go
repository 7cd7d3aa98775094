package overlay

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestOutage has gVisor as domains have it send again all that an outage has swallowed when
// its timer runs out once or a few times. As it comes it needs that for every two segments:
// the control, without which the edit can go.
func TestOutage(t *testing.T) {
	timeouts := func(rounds int, flags ...string) int {
		t.Helper()
		program := filepath.Join(t.TempDir(), "outage")
		build := append(append([]string{"build", "-trimpath", "-o", program}, flags...), "./testdata/outage")
		if out, err := exec.CommandContext(t.Context(), "go", build...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := exec.CommandContext(t.Context(), program, strconv.Itoa(rounds)).CombinedOutput()
		n, bad := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil || bad != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return n
	}
	if n := timeouts(8, "-modfile", editedModule(t, onlyTCP(lostIsNotInFlight))); n > 3 {
		t.Errorf("the timer ran out %d times after an outage", n)
	}
	// The first round that needs that ends the program; four of five do.
	if n := timeouts(40); n < 10 {
		t.Errorf("without the edit it ran out %d times: gVisor has mended it", n)
	}
}
