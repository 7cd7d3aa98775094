// Command cloudhypervisor is the kernel for Cloud Hypervisor's virtual machines: virtio
// devices on the PCI bus, and ACPI.
package main

import "github.com/sluice-os/sluice/kernel"

func main() { kernel.Main(kernel.Board{Name: "cloudhypervisor", Bus: kernel.PCI}) }
