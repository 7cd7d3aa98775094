package domain

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/abi"
)

const (
	atPageSize = 6
	atNull     = 0
)

// fillBoot lays out the boot page: the header, then the argument vector and the
// strings that it points to.
func fillBoot(page []byte, b abi.Boot, args, env []string) error {
	b.Magic, b.Version, b.Argc = abi.Magic, abi.Version, uint64(len(args))
	*(*abi.Boot)(unsafe.Pointer(&page[0])) = b
	words := len(args) + 1 + len(env) + 1 + 4
	vector := page[abi.BootVector:]
	at := abi.BootVector + 8*words
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(vector, v)
		vector = vector[8:]
	}
	size := at
	for _, s := range args {
		size += len(s) + 1
	}
	for _, s := range env {
		size += len(s) + 1
	}
	if size > len(page) {
		return fmt.Errorf("arguments and environment take %d bytes, %d too many: shorten them", size-abi.BootVector, size-len(page))
	}
	for _, list := range [][]string{args, env} {
		for _, s := range list {
			put(abi.BootPage + uint64(at))
			at += copy(page[at:], s) + 1
		}
		put(0)
	}
	put(atPageSize)
	put(pageSize)
	put(atNull)
	put(0)
	return nil
}

// clockPage is the one clock page, which all domains share.
var clockPage []byte

// SetClock makes the clock page. It is called once, before any domain starts.
func SetClock(c abi.Clock) error {
	page, err := vm.SharedPage()
	if err != nil {
		return err
	}
	*(*abi.Clock)(unsafe.Pointer(&page[0])) = c
	clockPage = page
	return nil
}
