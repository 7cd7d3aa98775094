// Command firecracker is the kernel for Firecracker's virtual machines: virtio devices over
// MMIO, which the command line lists, no PCI, and an end by a reset.
package main

import "github.com/sluice-os/sluice/kernel"

func main() { kernel.Main(kernel.Board{Name: "firecracker", Bus: kernel.MMIO, ResetEnds: true}) }
