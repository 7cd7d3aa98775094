package elf

import (
	"bytes"
	"debug/elf"
	"fmt"

	"github.com/sluice-os/sluice/kernel/seal"
)

// Seal writes the sums into a file by which the kernel sees at its start that nothing of it
// has been damaged (package seal). It changes file in place and comes last: whoever changes
// a sealed file seals it again.
func Seal(file []byte) error {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return fmt.Errorf("the linker's output: %w", err)
	}
	defer f.Close()
	var content seal.Sum
	header := false
	for i, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_W != 0 {
			continue
		}
		if p.Off+p.Filesz < p.Off || p.Off+p.Filesz > uint64(len(file)) {
			return fmt.Errorf("segment %d is not in the file", i)
		}
		data := file[p.Off:][:p.Filesz]
		if p.Off == 0 && len(data) >= headerRoom {
			header, data = true, data[headerRoom:]
		}
		content.Add(data)
	}
	if !header {
		return fmt.Errorf("the linker's output has no loaded header page")
	}
	content.Put(file[seal.ContentAt:])
	var sum seal.Sum
	sum.Add(file[:seal.HeaderAt])
	sum.Put(file[seal.HeaderAt:])
	return nil
}
