package suites

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// TestARM64 boots QEMU's virt, entered at EL1 and at EL2, as an ELF file and as an image, with
// either version of the interrupt controller and its devices memory-mapped or on PCI: an
// address by DHCP, ping, echo by TCP and UDP, HTTP, 20 MiB each way with checked
// hashes, the cable pulled, the card reset, goroutines that fault and that loop, and power
// off.
func TestARM64(t *testing.T) {
	onARM(t)
	for name, c := range map[string]qemutest.Config{
		"EL1":       {Memory: 64},
		"EL2":       {Memory: 128, Extra: []string{"-M", "virtualization=on"}},
		"max":       {Memory: 3072, Extra: []string{"-cpu", "max"}},
		"GICv3 EL1": {Memory: 64, Extra: []string{"-M", "gic-version=3"}},
		"GICv3 EL2": {Memory: 128, Extra: []string{"-M", "gic-version=3,virtualization=on"}},
		"PCI GICv2": {Memory: 64, PCI: true},
		"PCI GICv3": {Memory: 128, PCI: true, Extra: []string{"-M", "gic-version=3,virtualization=on", "-cpu", "max"}},
		// Configuration space of 16 buses and no addresses above 4 GiB.
		"PCI low":    {Memory: 128, PCI: true, Extra: []string{"-M", "highmem=off"}},
		"PCI e1000e": {Memory: 128, Card: "e1000e"},
		// As other boot loaders than QEMU's enter it, with the tree's address in X0.
		"image": {Memory: 128, Image: linuxImage(t)},
	} {
		t.Run(name, func(t *testing.T) {
			c.Machine = "virt"
			vm, peer := startWithPeer(t, c)
			host, client := peer.Address4(), peer.HTTP()
			peer.Ping(t, host)
			conn := dial(t, vm, peer.Dial, "tcp", qemutest.HostPort(host, 7))
			echo(t, conn, 64<<10)
			checkUDPEcho(t, vm, peer.Dial, host)
			transfer(t, client, url(host, ""))

			vm.SetLink(t, false)
			vm.Expect(t, "link down name=eth0")
			vm.SetLink(t, true)
			vm.Expect(t, "link up name=eth0")
			vm.Command(t, "fault reset-card")
			vm.Seen(t, "device is reset")
			if c.PCI || c.Card != "" {
				if text := vm.Command(t, "pci"); !strings.Contains(text, "Ethernet controller") {
					t.Errorf("the PCI bus: %q", text)
				}
			}
			peer.Ping(t, host)
			echo(t, conn, 1000)

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

// TestARM64Shared has cards on one line of PCI, as devices that are four apart are: all
// carry frames at once, and each alone.
func TestARM64Shared(t *testing.T) {
	onARM(t)
	for version, models := range map[string][]string{"2": {"virtio", "e1000e", "e1000-82545em"}, "3": {"e1000", "virtio"}} {
		t.Run("GICv"+version, func(t *testing.T) {
			c := qemutest.Config{
				Machine: "virt", Memory: 384, PCI: true, Card: models[0], Extra: []string{"-M", "gic-version=" + version},
			}
			for i, model := range models[1:] {
				c.More = append(c.More, qemu.Card{
					Model: model, MAC: fmt.Sprintf("52:54:00:00:00:%02x", 2+i), Options: fmt.Sprintf("addr=%#x", 5+4*i),
				})
			}
			vm, first := startWithPeer(t, c)
			peers := []*qemutest.Peer{first}
			for i := range c.More {
				peers = append(peers, vm.PeerOf(t, 1+i, qemutest.PeerConfig{}))
			}
			vm.Times(t, 0, "dhcp: address acquired", len(peers))
			var lines []string
			for i := range peers {
				line := fmt.Sprintf(`line of PCI device="pci 00:%02x.0" interrupt=(\d+) by=interrupt-map`, 1+4*i)
				lines = append(lines, vm.Times(t, 0, line, 1)[1])
			}
			if len(slices.Compact(slices.Clone(lines))) != 1 {
				t.Fatalf("the cards have interrupts %v: not one line", lines)
			}
			var all sync.WaitGroup
			for _, peer := range peers {
				all.Go(func() { transfer(t, peer.HTTP(), url(peer.Address4(), "")) })
			}
			all.Wait()
			for _, peer := range peers {
				peer.Ping(t, peer.Address4())
				transfer(t, peer.HTTP(), url(peer.Address4(), ""))
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
	t.Run("no GIC", func(t *testing.T) {
		tree, err := os.ReadFile("../../kernel/fdt/testdata/virt.dtb")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "tree.dtb")
		if err := os.WriteFile(file, bytes.Replace(tree, []byte("arm,cortex-a15-gic"), []byte("arm,cortex-a15-gix"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		vm := start(t, qemutest.Config{Machine: "virt", Memory: 256, Extra: []string{"-dtb", file}, Unchecked: true})
		vm.Seen(t, "cannot start: the device tree names no interrupt controller of version 2 or 3: give QEMU -M virt,gic-version=2")
	})
	t.Run("32 MiB", func(t *testing.T) {
		vm := start(t, qemutest.Config{Machine: "virt", Memory: 32, Unchecked: true})
		vm.Seen(t, "cannot start: too little memory: the machine has")
	})
}
