// Package rt is what a program in a domain has instead of an operating system:
// it answers the system calls of the standard library, with files in memory and
// the console of the kernel. The builder puts it into the standard library as
// internal/sluice/rt, where package os imports it.
package rt

import (
	"encoding/binary"
	"runtime/goos"
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/newc"
	"github.com/sluice-os/sluice/userland/memfs"
	"github.com/sluice-os/sluice/userland/posix"
)

// kernel makes a system call of the kernel (see package abi).
//
//go:linkname kernel runtime.sluiceKernel
func kernel(num, a1, a2, a3, a4 uintptr) int64

// raise does what a signal to this program does.
//
//go:linkname raise runtime.sluiceRaise
func raise(signal uint32)

// walltime is the runtime's.
//
//go:linkname walltime runtime.walltime
func walltime() (sec int64, nsec int32)

// filesShare is which part of the domain's memory its files may take.
const filesShare = 4

// Process answers the system calls, and Files is its file system.
var (
	Process *posix.Process
	Files   *memfs.FS
)

func init() {
	boot := (*abi.Boot)(unsafe.Pointer(uintptr(abi.BootPage)))
	now := func() (int64, int64) {
		sec, nsec := walltime()
		return sec, int64(nsec)
	}
	fs := memfs.New(int64(boot.Quota/filesShare), now)
	addFiles(fs, boot)
	process := &posix.Process{
		FS:       fs,
		Hostname: name(boot),
		Stdout:   write,
		Stdin:    read,
		Random:   random,
		Exit:     func(code int) { goos.Exit(int32(code)) },
		Now:      now,
		// Before the first descriptor is polled nobody calls it.
		PollReady: func(pd uintptr, mode int) { goos.PollReady(pd, mode) },
		Kill:      func(signal int) { raise(uint32(signal)) },
	}
	process.Pipes, process.OpenPipe = pipes(), openPipe
	if boot.Flags&abi.BootObserve != 0 {
		process.Stats, process.OpenMonitor = stats, openMonitor
	}
	if boot.Flags&abi.BootLink != 0 {
		process.OpenLink = openLink
	}
	if err := process.Init(); err != 0 {
		panic("sluice: the memory of this domain is too small for its files")
	}
	Process, Files = process, fs
	goos.Syscall = process.Call
	goos.PollOpen = func(fd, pd uintptr) uintptr { return uintptr(process.PollOpen(int(fd), pd)) }
	goos.PollClose = func(fd uintptr) uintptr { return uintptr(process.PollClose(int(fd))) }
}

// name returns the domain's name.
func name(b *abi.Boot) string {
	n := 0
	for n < len(b.Name) && b.Name[n] != 0 {
		n++
	}
	return string(b.Name[:n])
}

// addFiles adds the files that came with the image, where they lie.
func addFiles(fs *memfs.FS, b *abi.Boot) {
	if b.FilesSize == 0 {
		return
	}
	// The kernel has mapped them there for as long as the domain lives.
	rest := unsafe.Slice((*byte)(unsafe.Pointer(uintptr(abi.FilesStart))), b.FilesSize)
	for {
		f, after, more, _ := newc.Next(rest)
		if !more {
			return
		}
		rest = after
		if len(f.Name) > 0 && f.Name[0] != '.' {
			fs.AddFile("/"+f.Name, f.Data, f.Mode&0o777)
		}
	}
}

// address is where p begins, for the kernel. p must stay alive until its call
// has returned.
func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// write writes to the console.
func write(_ int, p []byte) int {
	n := 0
	for n < len(p) {
		part := p[n:min(len(p), n+abi.WriteMax)]
		took := kernel(abi.SysWrite, address(part), uintptr(len(part)), 0, 0)
		if took <= 0 {
			break
		}
		n += int(took)
	}
	return n
}

// inputEvent is the number of abi.EventInput.
const inputEvent = 1

// reading is held by the one goroutine that reads the console.
var reading = make(chan struct{}, 1)

// read reads what was typed while the console was attached, and waits for it.
func read(p []byte) (int, syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	reading <- struct{}{}
	defer func() { <-reading }()
	for {
		part := p[:min(len(p), abi.ControlMax)]
		switch n := kernel(abi.SysControl, abi.ControlRead, address(part), uintptr(len(part)), 0); {
		case n > 0:
			return int(n), 0
		case n == int64(abi.EndOfInput):
			return 0, 0
		case n < 0:
			return 0, syscall.EIO
		}
		goos.Wait(inputEvent)
	}
}

// stats reads the description of the machine from an offset.
func stats(off int64, p []byte) (int, syscall.Errno) {
	part := make([]byte, abi.ControlMax)
	binary.LittleEndian.PutUint64(part, uint64(off))
	n := kernel(abi.SysControl, abi.ControlStats, address(part), uintptr(len(part)), 0)
	if n < 0 {
		return 0, syscall.EIO
	}
	return copy(p, part[:n]), 0
}

// random fills p from the kernel's generator.
func random(p []byte) { goos.GetRandomData(p) }
