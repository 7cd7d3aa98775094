// Package disk makes bootable disks: a partition table (GPT) with a partition for the BIOS
// loader and a FAT32 partition that holds the kernel and its options, for BIOS and UEFI
// alike.
package disk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/uuid"
	"github.com/sluice-os/sluice/image/bios"
	"github.com/sluice-os/sluice/image/efi"
)

// Files in the root folder of the FAT partition.
const (
	KernelFile  = "SLUICE.ELF"
	OptionsFile = "SLUICE.TXT"
	// applicationFile is what UEFI starts of a disk (UEFI Specification 2.10, 3.5.1.1).
	applicationFile = "EFI/BOOT/BOOTX64.EFI"
)

// OptionsMost is how much of OptionsFile the loaders read, in bytes.
const OptionsMost = 4095

const (
	mib = 1 << 20
	// loaderAt is where the partition for the BIOS loader begins, in bytes, and fatAt the
	// FAT partition: at whole MiB, as disks and sticks like it.
	loaderAt = 1 * mib
	fatAt    = 2 * mib
	// fatLeast is the least size of the FAT partition: FAT32 has 65525 clusters or more.
	fatLeast = 64 * mib
	// spare is what is left free in it at least, for another kernel beside this one.
	spare = 32 * mib
	// tableEnd is room for the second partition table, which ends a disk.
	tableEnd = 1 * mib
)

// Contents is what a disk holds.
type Contents struct {
	Kernel  []byte // an ELF image for the board pc
	Options string // text of OptionsFile; "" for one that explains itself
}

// explained is the text of OptionsFile that says what can be written there.
const explained = "# Options of the kernel: words of the form KEY=VALUE. What follows a # is a comment.\r\n" +
	"# docs/kernel.md has them all; for example:\r\n" +
	"# ip=192.0.2.5/24,gw=192.0.2.1 ip6=off log=debug\r\n"

// Write makes a disk in the file called name. Equal contents make equal disks. Its size is a
// whole number of MiB; most of it is a hole.
func Write(name string, c Contents) (size int64, err error) {
	if c.Options == "" {
		c.Options = explained
	}
	if len(c.Options) > OptionsMost {
		return 0, fmt.Errorf("%s: %d bytes, at most %d are read", OptionsFile, len(c.Options), OptionsMost)
	}
	fat := int64(max(fatLeast, (len(c.Kernel)+spare+mib-1)/mib*mib))
	size = fatAt + fat + tableEnd
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	b, err := file.CreateFromPath(name, size)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := b.Close(); err == nil {
			err = e
		}
		if err != nil {
			os.Remove(name)
		}
	}()
	w, err := b.Writable()
	if err != nil {
		return 0, err
	}
	if err := partitions(w, size, fat, sha256.Sum256(c.Kernel)); err != nil {
		return 0, fmt.Errorf("partition table: %w", err)
	}
	loader, err := bios.Loader(fatAt / bios.SectorSize)
	if err != nil {
		return 0, err
	}
	if _, err := w.WriteAt(bios.MBR(loaderAt/bios.SectorSize), 0); err != nil {
		return 0, err
	}
	if _, err := w.WriteAt(loader, loaderAt); err != nil {
		return 0, err
	}
	return size, files(b, fat, c)
}

// partitions writes the partition table. Its names are made of hash.
func partitions(w backend.WritableFile, size, fat int64, hash [sha256.Size]byte) error {
	name := func(what string) string {
		return uuid.NewSHA1(uuid.NameSpaceOID, append(hash[:], what...)).String()
	}
	table := gpt.Table{
		LogicalSectorSize: bios.SectorSize, PhysicalSectorSize: bios.SectorSize, ProtectiveMBR: true, GUID: name("disk"),
		Partitions: []*gpt.Partition{
			{Index: 1, Start: loaderAt / bios.SectorSize, End: fatAt/bios.SectorSize - 1, Type: gpt.BIOSBoot, Name: "loader", GUID: name("loader")},
			{Index: 2, Start: fatAt / bios.SectorSize, End: uint64(fatAt+fat)/bios.SectorSize - 1, Type: gpt.EFISystemPartition, Name: "SLUICE", GUID: name("fat")},
		},
	}
	return table.Write(w, size)
}

// files makes the file system. The kernel comes first and so lies in one piece, which is
// read fastest.
func files(b backend.Storage, size int64, c Contents) error {
	// Without this variable the library takes the time of day.
	if _, ok := os.LookupEnv("SOURCE_DATE_EPOCH"); !ok {
		os.Setenv("SOURCE_DATE_EPOCH", "1577836800")
		defer os.Unsetenv("SOURCE_DATE_EPOCH")
	}
	fs, err := fat32.Create(b, size, fatAt, bios.SectorSize, "SLUICE", true)
	if err != nil {
		return fmt.Errorf("file system: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{KernelFile, c.Kernel}, {OptionsFile, []byte(c.Options)}, {applicationFile, efi.Application()}} {
		if dir := path.Dir(f.name); dir != "." {
			if err := fs.Mkdir("/" + dir); err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
		}
		out, err := fs.OpenFile("/"+f.name, os.O_CREATE|os.O_RDWR)
		if err == nil {
			_, err = io.Copy(out, bytes.NewReader(f.data))
			if e := out.Close(); err == nil {
				err = e
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}
