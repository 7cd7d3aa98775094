package suites

import (
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

func TestPowerOff(t *testing.T) {
	for _, machine := range machines {
		t.Run(machine, func(t *testing.T) {
			powerOff(t, start(t, qemutest.Config{Machine: machine}))
		})
	}
}

// TestReboot: QEMU runs with -no-reboot, so that a reset ends it.
func TestReboot(t *testing.T) {
	for _, machine := range machines {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine})
			vm.Seen(t, qemutest.Prompt)
			vm.Type(t, "reboot\n")
			if status := vm.Wait(t); status != 0 || vm.Shutdown() != "guest-reset" {
				t.Errorf("reboot ended QEMU with status %d, reason %q; want 0, guest-reset", status, vm.Shutdown())
			}
		})
	}
}
