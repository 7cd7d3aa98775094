// Command virt-arm64 is the kernel for QEMU's virt machine of arm64: its devices are
// virtio's over MMIO, which the device tree lists, and what is on PCI.
package main

import "github.com/sluice-os/sluice/kernel"

func main() { kernel.Main(kernel.Board{Name: "virt-arm64", Bus: kernel.MMIO}) }
