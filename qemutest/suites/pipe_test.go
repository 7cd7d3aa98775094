package suites

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// TestInputFromAPipe: what was typed before the kernel looked at its serial
// port is not lost, as in `echo poweroff | make run`.
func TestInputFromAPipe(t *testing.T) {
	for _, machine := range machines {
		t.Run(machine, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			args, err := qemu.Config{Machine: machine, Memory: qemu.MemoryMin, Image: qemutest.Image(t, qemu.Machines[machine])}.Args()
			if err != nil {
				t.Fatal(err)
			}
			program, _ := qemu.Program(machine)
			cmd := exec.CommandContext(t.Context(), program, args...)
			cmd.Stdin = strings.NewReader("uptime\npoweroff\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("QEMU: %v", err)
			}
			if !strings.Contains(string(out), "sluice> uptime") || !strings.Contains(string(out), "power off") {
				t.Errorf("the console showed:\n%s", out)
			}
		})
	}
}
