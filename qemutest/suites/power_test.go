package suites

import (
	"maps"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// onEvery runs a test on a machine of each kind, those that stand in for monitors among them.
func onEvery(t *testing.T, f func(t *testing.T, machine string)) {
	for _, machine := range slices.Sorted(maps.Keys(qemu.Machines)) {
		t.Run(machine, func(t *testing.T) {
			if machine == "virt" {
				onARM(t)
			}
			f(t, machine)
		})
	}
}

func TestPowerOff(t *testing.T) {
	onEvery(t, func(t *testing.T, machine string) {
		powerOff(t, start(t, qemutest.Config{Machine: machine}))
	})
}

// TestReboot: QEMU runs with -no-reboot, so that a reset ends it.
func TestReboot(t *testing.T) {
	onEvery(t, func(t *testing.T, machine string) {
		vm := start(t, qemutest.Config{Machine: machine})
		vm.Seen(t, qemutest.Prompt)
		vm.Type(t, "reboot\n")
		if status := vm.Wait(t); status != 0 || vm.Shutdown() != "guest-reset" {
			t.Errorf("reboot ended QEMU with status %d, reason %q; want 0, guest-reset", status, vm.Shutdown())
		}
	})
}
