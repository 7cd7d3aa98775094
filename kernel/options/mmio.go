package options

// The virtio_mmio.device words that QEMU's microvm appends to the command line
// (auto-kernel-cmdline), in the syntax of Linux' virtio_mmio driver.

import (
	"fmt"
	"strconv"
	"strings"
)

// MMIODevice is one virtio-mmio transport.
type MMIODevice struct {
	// Base is the physical address of its registers, Size their length in
	// bytes. Base+Size does not overflow and Size is at least 0x100, the size
	// of the common registers (virtio 1.2, 4.2.2).
	Base, Size uint64
	// IRQ is the global number of its interrupt line.
	IRQ uint32
}

// mmioSizeMax is the longest register window believed, in bytes.
const mmioSizeMax = 1 << 20

func parseMMIODevice(value string) (MMIODevice, error) {
	errSyntax := fmt.Errorf("want SIZE@ADDR:IRQ, such as 512@0xfeb00000:5")
	size, rest, ok := strings.Cut(value, "@")
	if !ok {
		return MMIODevice{}, errSyntax
	}
	base, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return MMIODevice{}, errSyntax
	}
	irq, id, hasID := strings.Cut(rest, ":")

	var d MMIODevice
	var err error
	if d.Size, err = parseSize(size); err != nil {
		return MMIODevice{}, errSyntax
	}
	if d.Base, err = strconv.ParseUint(base, 0, 64); err != nil {
		return MMIODevice{}, errSyntax
	}
	n, err := strconv.ParseUint(irq, 0, 32)
	if err != nil {
		return MMIODevice{}, errSyntax
	}
	d.IRQ = uint32(n)
	if hasID {
		if _, err := strconv.ParseUint(id, 0, 32); err != nil {
			return MMIODevice{}, errSyntax
		}
	}

	if d.Size < 0x100 || d.Size > mmioSizeMax {
		return MMIODevice{}, fmt.Errorf("size %d, want %d to %d bytes", d.Size, 0x100, mmioSizeMax)
	}
	if d.Base == 0 || d.Base%4 != 0 || d.Base+d.Size < d.Base {
		return MMIODevice{}, fmt.Errorf("address %#x, want a physical address that is a multiple of 4", d.Base)
	}
	return d, nil
}

// parseSize reads a number of bytes with an optional suffix K or M, as Linux'
// memparse does.
func parseSize(s string) (uint64, error) {
	shift := 0
	switch {
	case strings.HasSuffix(s, "K"), strings.HasSuffix(s, "k"):
		shift = 10
	case strings.HasSuffix(s, "M"), strings.HasSuffix(s, "m"):
		shift = 20
	}
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseUint(s, 0, 32)
	return n << shift, err
}
