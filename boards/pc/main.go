// Command pc is the kernel for the PC: QEMU's q35 and i440fx machines, and real
// ones of that family. Its devices are on the PCI bus.
package main

import "github.com/sluice-os/sluice/kernel"

func main() { kernel.Main(kernel.Board{Name: "pc", Bus: kernel.PCI}) }
