// Package bios has the code by which a machine with a BIOS starts an image from a disk:
// the first sector and the loader, assembled from mbr.gas and loader.gas.
package bios

import (
	_ "embed"
	"encoding/binary"
	"fmt"
)

// SectorSize is the size of a disk's sectors, in bytes.
const SectorSize = 512

// codeSize is how much of the first sector is code; the rest is the partition table's.
const codeSize = 440

var (
	//go:embed mbr.bin
	mbr []byte
	//go:embed loader.bin
	loader []byte
)

// LoaderSectors is how many sectors the loader takes.
const LoaderSectors = 8

// partitionAt is where the loader keeps the FAT partition's first sector.
const partitionAt = 8

// MBR returns the code of a disk's first sector, 440 bytes, for a disk that has the loader
// from the sector loaderAt on.
func MBR(loaderAt uint64) []byte {
	code := append([]byte(nil), mbr...)
	at := binary.LittleEndian.Uint32(code[codeSize-4:]) - 0x7c00
	clear(code[codeSize-4:])
	binary.LittleEndian.PutUint64(code[at:], loaderAt)
	return code
}

// Loader returns the loader for a disk whose FAT32 partition begins at the sector fatAt,
// which is below 2^32.
func Loader(fatAt uint64) ([]byte, error) {
	if fatAt >= 1<<32 {
		return nil, fmt.Errorf("the FAT partition begins at sector %d, beyond what the BIOS loader reads", fatAt)
	}
	code := append([]byte(nil), loader...)
	binary.LittleEndian.PutUint32(code[partitionAt:], uint32(fatAt))
	return code, nil
}
