// This file owns the names of device classes (PCI Code and ID Assignment 1.11).

package pci

import "fmt"

var classNames = map[uint16]string{
	0x0001: "Non-VGA unclassified device",
	0x0100: "SCSI storage controller",
	0x0101: "IDE interface",
	0x0106: "SATA controller",
	0x0108: "Non-Volatile memory controller",
	0x0200: "Ethernet controller",
	0x0280: "Network controller",
	0x0300: "VGA compatible controller",
	0x0302: "3D controller",
	0x0380: "Display controller",
	0x0401: "Multimedia audio controller",
	0x0403: "Audio device",
	0x0500: "RAM memory",
	0x0600: "Host bridge",
	0x0601: "ISA bridge",
	0x0604: "PCI bridge",
	0x0680: "Bridge",
	0x0700: "Serial controller",
	0x0780: "Communication controller",
	0x0800: "PIC",
	0x0805: "SD Host controller",
	0x0806: "IOMMU",
	0x0880: "System peripheral",
	0x0c03: "USB controller",
	0x0c05: "SMBus",
	0x00ff: "Unclassified device",
	0x1000: "Encryption controller",
}

// ClassName returns what lspci calls the function's class, such as "Ethernet
// controller", or "Class 1234" for one that is not in the list.
func (f *Function) ClassName() string {
	class := uint16(f.Class)<<8 | uint16(f.Subclass)
	if name, ok := classNames[class]; ok {
		return name
	}
	return fmt.Sprintf("Class %04x", class)
}
