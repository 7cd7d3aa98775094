package disk

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/sluice-os/sluice/image/bios"
)

// The form of a CD (ECMA-119) that starts (El Torito 1.0), and of a stick at once: a
// partition table fits into the 16 sectors that a CD leaves to the system.
const (
	cdSector = 2048
	// bootRecordAt is the sector of the descriptor that has the boot catalog's sector at
	// catalogAt; the catalog's entries have their files' sectors at biosEntryAt and
	// efiEntryAt.
	bootRecordAt = 17
	catalogAt    = 0x47
	biosEntryAt  = 32 + 8
	efiEntryAt   = 96 + 8

	// loaderSegment is where the BIOS puts the loader, as mbr.bin does.
	loaderSegment = 0x800

	// cdLoader and cdFAT are the files of a CD.
	cdLoader = "LOADER.BIN"
	cdFAT    = "SLUICE.FAT"
)

// WriteISO makes a CD, which starts from a stick too, in a file. It returns the file's size.
func WriteISO(name string, c Contents) (size int64, err error) {
	dir, err := os.MkdirTemp("", "sluice-iso-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	if err := cdFiles(dir, c); err != nil {
		return 0, err
	}
	if size, err = cd(name, dir); err == nil {
		err = stick(name, size, c)
	}
	if err != nil {
		os.Remove(name)
	}
	return size, err
}

// cdFiles makes the files of a CD in a folder: the loader, which does not know yet where
// the other one will be, and a file system as disks have it.
func cdFiles(dir string, c Contents) error {
	loader, err := bios.Loader(0)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, cdLoader), loader, 0o644); err != nil {
		return err
	}
	size := fatSize(c)
	b, err := file.CreateFromPath(filepath.Join(dir, cdFAT), size)
	if err != nil {
		return err
	}
	if err := files(b, size, 0, c); err != nil {
		b.Close()
		return err
	}
	return b.Close()
}

// cd makes the CD of the files in dir, with a MiB to spare at its end.
func cd(name, dir string) (size int64, err error) {
	fat, err := os.Stat(filepath.Join(dir, cdFAT))
	if err != nil {
		return 0, err
	}
	b, err := file.CreateFromPath(name, fat.Size()+2*tableEnd)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	defer fixedTime()()
	fs, err := iso9660.Create(b, 0, 0, cdSector, dir)
	if err != nil {
		return 0, fmt.Errorf("CD: %w", err)
	}
	efi := &iso9660.ElToritoEntry{Platform: iso9660.EFI, Emulation: iso9660.NoEmulation, BootFile: cdFAT}
	efi.SetLoadSize(0) // up to the end of the CD
	loader := &iso9660.ElToritoEntry{Platform: iso9660.BIOS, Emulation: iso9660.NoEmulation, BootFile: cdLoader, LoadSegment: loaderSegment}
	loader.SetLoadSize(bios.LoaderSectors)
	err = fs.Finalize(iso9660.FinalizeOptions{
		VolumeIdentifier: "SLUICE",
		ElTorito:         &iso9660.ElTorito{BootCatalog: "BOOT.CAT", Entries: []*iso9660.ElToritoEntry{loader, efi}},
	})
	if err != nil {
		return 0, fmt.Errorf("CD: %w", err)
	}
	w, err := b.Writable()
	if err != nil {
		return 0, err
	}
	size = fat.Size() + 2*tableEnd
	return size, w.(interface{ Truncate(int64) error }).Truncate(size)
}

// stick finds the files of a CD, tells the loader of the file system, and adds what a disk
// has: code in the first sector and a partition table, whose partitions are the files.
func stick(name string, size int64, c Contents) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	word := func(at int64) int64 {
		var b [4]byte
		if err == nil {
			_, err = f.ReadAt(b[:], at)
		}
		return int64(binary.LittleEndian.Uint32(b[:]))
	}
	catalog := word(bootRecordAt*cdSector+catalogAt) * cdSector
	l := layout{loader: word(catalog+biosEntryAt) * cdSector, fat: word(catalog+efiEntryAt) * cdSector, fatSize: fatSize(c), size: size}
	if err != nil {
		return err
	}
	if l.fat+l.fatSize > size-tableEnd || l.loader < 64*bios.SectorSize {
		return fmt.Errorf("CD: the file system lies at %#x, the loader at %#x, of %#x bytes", l.fat, l.loader, size)
	}
	if err := l.write(f, c); err != nil {
		return err
	}
	if err := date(f, written()); err != nil {
		return fmt.Errorf("CD: %w", err)
	}
	return f.Close()
}

// Where a CD has dates (ECMA-119, 8.4 and 9.1): four in the descriptor of the volume, of 17
// bytes each, and 7 bytes in each entry of its one folder, the first of which is in the
// descriptor, too.
const (
	volumeAt      = 16
	volumeDatesAt = 813
	rootAt        = 156
	entryLeast    = 34
	entryDateAt   = 18
)

// date writes a time over all dates of a CD: those that it has are of when it was made. That
// it expires at no time is a date of zeros.
func date(f *os.File, t time.Time) error {
	volume := make([]byte, cdSector)
	if _, err := f.ReadAt(volume, volumeAt*cdSector); err != nil {
		return err
	}
	short := []byte{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0}
	long, never := t.Format("20060102150405")+"00\x00", "0000000000000000\x00"
	copy(volume[volumeDatesAt:], long+long+never+long)
	copy(volume[rootAt+entryDateAt:], short)
	if _, err := f.WriteAt(volume, volumeAt*cdSector); err != nil {
		return err
	}
	at := int64(binary.LittleEndian.Uint32(volume[rootAt+2:])) * cdSector
	folder := make([]byte, cdSector)
	if n := binary.LittleEndian.Uint32(volume[rootAt+10:]); n > cdSector {
		return fmt.Errorf("the folder has %d bytes, more than %d", n, cdSector)
	}
	if _, err := f.ReadAt(folder, at); err != nil {
		return err
	}
	for entry := folder; len(entry) >= entryLeast && entry[0] >= entryLeast; entry = entry[min(int(entry[0]), len(entry)):] {
		copy(entry[entryDateAt:], short)
	}
	_, err := f.WriteAt(folder, at)
	return err
}
