package bootinfo

import "encoding/binary"

// Screen is what a disk's loader says about the screen and the firmware: image/bios and
// image/efi put it, 48 bytes that begin with screenMagic, into a module of the start info.
type Screen struct {
	// Base and Size are the physical address and the length of the frame buffer, in
	// bytes; Size 0: there is none.
	Base, Size uint64
	// Width and Height are in pixels, of a screen of text in cells; Stride is how many
	// of them a line has in memory.
	Width, Height, Stride uint32
	// Format is that of a pixel (EFI_GRAPHICS_PIXEL_FORMAT), or ScreenText.
	Format uint32
	// Runtime is the address of UEFI's runtime services; 0: not started by UEFI.
	Runtime uint64
}

// ScreenText is the format of a screen whose cells are a letter and its colours, a byte
// each, as VGA has it.
const ScreenText = 0x100

const (
	screenMagic = 0x49464553 // "SEFI"
	screenSize  = 48
	moduleSize  = 32
	modulesMost = 4 // that are looked at
	// wrongAt is the byte of the description that says what is wrong with the text of the
	// options.
	wrongAt      = 6
	wrongLong    = 1 << 0
	wrongDamaged = 1 << 1
)

// readScreen looks for the module with the description of the screen, in which a disk's
// loader says what it could not read of the options, too.
func (info *Info) readScreen(list uint64, view func(phys uint64, n int) []byte) {
	for i := range min(info.Modules, modulesMost) {
		m := view(list+uint64(i)*moduleSize, moduleSize)
		if len(m) < moduleSize || binary.LittleEndian.Uint64(m[8:]) != screenSize {
			continue
		}
		b := view(binary.LittleEndian.Uint64(m), screenSize)
		if len(b) < screenSize || binary.LittleEndian.Uint32(b) != screenMagic {
			continue
		}
		info.OptionsLong, info.OptionsDamaged = b[wrongAt]&wrongLong != 0, b[wrongAt]&wrongDamaged != 0
		s := &info.Screen
		s.Base, s.Size = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
		s.Width, s.Height = binary.LittleEndian.Uint32(b[24:]), binary.LittleEndian.Uint32(b[28:])
		s.Format, s.Stride = binary.LittleEndian.Uint32(b[32:]), binary.LittleEndian.Uint32(b[36:])
		s.Runtime = binary.LittleEndian.Uint64(b[40:])
		return
	}
}
