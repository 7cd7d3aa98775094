// Command microvm is the kernel for QEMU's microvm board: virtio devices in
// memory windows that ACPI lists, no PCI.
package main

import "github.com/sluice-os/sluice/kernel"

func main() { kernel.Main(kernel.Board{Name: "microvm", Bus: kernel.MMIO}) }
