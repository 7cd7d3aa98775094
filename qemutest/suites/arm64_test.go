package suites

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// onARM skips a test without the emulator of arm64.
func onARM(t *testing.T) {
	t.Helper()
	if _, err := qemu.Find("virt"); err != nil {
		t.Skip(err)
	}
}

// linuxImage builds the kernel in the form of Linux'.
func linuxImage(t *testing.T) string {
	t.Helper()
	return qemutest.BuildOptions(t, build.Options{Board: "virt-arm64", Format: build.LinuxFormat, Output: filepath.Join(t.TempDir(), "sluice.image")})
}

// TestARM64 boots QEMU's virt, entered at EL1 and at EL2, as an ELF file and as an image: an address by DHCP, ping, echo by TCP, HTTP, 20 MiB each way with checked
// hashes, the cable pulled, the card reset, goroutines that fault and that loop, and power
// off.
func TestARM64(t *testing.T) {
	onARM(t)
	for name, c := range map[string]qemutest.Config{
		"EL1": {Memory: 64},
		"EL2": {Memory: 128, Extra: []string{"-M", "virtualization=on"}},
		"max": {Memory: 2048, Extra: []string{"-cpu", "max"}},
		// As other boot loaders than QEMU's enter it, with the tree's address in X0.
		"image": {Memory: 128, Image: linuxImage(t)},
	} {
		t.Run(name, func(t *testing.T) {
			c.Machine = "virt"
			vm, peer := startWithPeer(t, c)
			host, client := peer.Address4(), peer.HTTP()
			peer.Ping(t, host)
			c := dial(t, vm, peer.Dial, "tcp", qemutest.HostPort(host, 7))
			echo(t, c, 64<<10)
			transfer(t, client, url(host, ""))

			vm.SetLink(t, false)
			vm.Expect(t, "link down name=eth0")
			vm.SetLink(t, true)
			vm.Expect(t, "link up name=eth0")
			vm.Command(t, "fault reset-card")
			vm.Seen(t, "device is reset")
			peer.Ping(t, host)
			echo(t, c, 1000)

			if text := vm.Command(t, "fault nil"); !strings.Contains(text, "recovered: runtime error: invalid memory address") {
				t.Errorf("a nil dereference: %q", text)
			}
			// It would never come back if a goroutine that loops were not stopped.
			if text := vm.Command(t, "fault delay"); !strings.Contains(text, "worst delay beside") {
				t.Errorf("a goroutine that loops: %q", text)
			}
			powerOff(t, vm)
		})
	}
}

// TestARM64Fatal: a fault that no goroutine can take is printed with registers and a trace,
// and ends the machine.
func TestARM64Fatal(t *testing.T) {
	onARM(t)
	for how, want := range map[string]string{
		"wild": "data abort", "text": "data abort", "guard": "data abort", "data": "instruction abort",
	} {
		t.Run(how, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: "virt", Memory: 128, Unchecked: true})
			vm.Seen(t, qemutest.Prompt)
			vm.Type(t, "fault "+how+"\n")
			vm.Seen(t, "fatal: "+want)
			if how != "data" { // which leads nowhere that a trace could begin
				vm.Seen(t, "kernel.fault")
			}
			vm.Seen(t, "last log lines:")
			vm.Wait(t)
		})
	}
}

// TestARM64Mistakes: what is not there is refused with what would be right.
func TestARM64Mistakes(t *testing.T) {
	onARM(t)
	t.Run("domains", func(t *testing.T) {
		_, err := build.Build(t.Context(), build.Options{Board: "virt-arm64", Domains: []build.Program{{}}})
		if err == nil || !strings.Contains(err.Error(), "board virt-arm64 has no domains yet") {
			t.Errorf("an image with domains: %v", err)
		}
	})
	t.Run("GICv3", func(t *testing.T) {
		vm := start(t, qemutest.Config{Machine: "virt", Memory: 128, Extra: []string{"-M", "gic-version=3"}, Unchecked: true})
		vm.Seen(t, "cannot start: the device tree names no interrupt controller of version 2: give QEMU -M virt,gic-version=2")
	})
	t.Run("32 MiB", func(t *testing.T) {
		vm := start(t, qemutest.Config{Machine: "virt", Memory: 32, Unchecked: true})
		vm.Seen(t, "cannot start: too little memory: the machine has")
	})
}
