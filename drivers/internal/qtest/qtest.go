//go:build linux

// Package qtest runs the drivers on the host against the devices of a real QEMU.
// QEMU's qtest protocol gives the test the registers over a socket, and guest
// memory is a file that both map. The guest's CPU halts at its first
// instruction. So the drivers meet a device that was not written by their authors.
package qtest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

const (
	qemu     = "qemu-system-x86_64"
	memBytes = 64 << 20
	page     = 4096
	// deadline bounds each wait for QEMU; it is only ever reached on failure.
	deadline = 5 * time.Minute
)

// Machine is a QEMU whose CPU is the test.
type Machine struct {
	t      testing.TB
	memory []byte // stays mapped, as drivers have goroutines that outlive the test
	ended  atomic.Bool

	mu   sync.Mutex // one command at a time
	conn net.Conn
	in   *bufio.Reader

	next int // device memory is handed out from here and not reused
}

// Start runs a machine of that type ("microvm", "q35") with more arguments. The
// test is skipped, with a line that says so, when there is no QEMU.
func Start(t testing.TB, machine string, args ...string) *Machine {
	t.Helper()
	path, err := exec.LookPath(qemu)
	if err != nil {
		t.Skipf("%s is not installed: the drivers are not tried against its devices", qemu)
	}
	dir := t.TempDir()
	ram, bios, socket := filepath.Join(dir, "ram"), filepath.Join(dir, "bios"), filepath.Join(dir, "s")
	if err := os.WriteFile(bios, firmware(), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(ram)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(memBytes); err != nil {
		t.Fatal(err)
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, memBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var closeOnce sync.Once
	hangUp := func() { closeOnce.Do(func() { listener.Close() }) }
	defer hangUp()
	cmd := exec.Command(path, append([]string{
		"-machine", machine + ",memory-backend=ram", "-accel", "tcg", "-bios", bios, "-m", "64M", "-nodefaults", "-display", "none",
		"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%d,share=on,mem-path=%s", memBytes, ram),
		"-qtest", "unix:" + socket, "-qtest-log", "/dev/null"}, args...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		hangUp() // nobody will connect any more
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	if err := listener.(*net.UnixListener).SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatalf("QEMU does not connect: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	// The first megabyte is left to the firmware image.
	m := &Machine{t: t, memory: memory, conn: conn, in: bufio.NewReader(conn), next: 1 << 20}
	t.Cleanup(func() { m.ended.Store(true) })
	return m
}

// firmware is a ROM whose CPU halts at once: the reset vector lies 16 bytes below
// its end (Intel SDM, volume 3, section 10.1.4).
func firmware() []byte {
	rom := make([]byte, 64<<10)
	copy(rom[len(rom)-16:], []byte{0xfa, 0xf4, 0xeb, 0xfd}) // cli; again: hlt; jmp again
	return rom
}

// command sends one line and returns the value in QEMU's answer. A driver's
// goroutine that outlives the machine stays here.
func (m *Machine) command(format string, args ...any) uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	m.conn.SetDeadline(time.Now().Add(deadline))
	_, err := fmt.Fprintln(m.conn, line)
	answer := ""
	if err == nil {
		answer, err = m.in.ReadString('\n')
	}
	if err != nil && m.ended.Load() {
		select {}
	}
	if err != nil {
		panic(fmt.Sprintf("qtest %s: %v", line, err))
	}
	var v uint64
	if n, _ := fmt.Sscanf(answer, "OK %v", &v); n == 0 && answer != "OK\n" {
		panic(fmt.Sprintf("qtest %s: %s", line, answer))
	}
	return uint32(v)
}

// Alloc implements hw.Allocator. Memory is not reused.
func (m *Machine) Alloc(size int) (hw.Segment, error) {
	size = (size + page - 1) &^ (page - 1)
	if m.next+size > len(m.memory) {
		return hw.Segment{}, fmt.Errorf("no %d bytes of guest memory left", size)
	}
	at := m.next
	m.next += size
	return hw.Segment{Bytes: m.memory[at : at+size : at+size], Phys: uint64(at)}, nil
}

// Free implements hw.Allocator.
func (m *Machine) Free(hw.Segment) {}

// DMA returns the memory of a device that nothing stands in front of.
func (m *Machine) DMA() *hw.DMA { return hw.NewDMA(m, hw.Identity{}) }

// Map returns the device registers at a physical address.
func (m *Machine) Map(phys, size uint64) (hw.Registers, error) { return window{m, phys, size}, nil }

// In32 and Out32 implement pci.PortIO.
func (m *Machine) In32(port uint16) uint32     { return m.command("inl %#x", port) }
func (m *Machine) Out32(port uint16, v uint32) { m.command("outl %#x %#x", port, v) }

type window struct {
	m          *Machine
	base, size uint64
}

func (w window) at(off, width uint64) uint64 {
	if off%width != 0 || off+width > w.size {
		panic(fmt.Sprintf("access of %d bytes at %#x of %#x", width, off, w.size))
	}
	return w.base + off
}

func (w window) Size() uint64                 { return w.size }
func (w window) Read8(off uint64) uint8       { return uint8(w.m.command("readb %#x", w.at(off, 1))) }
func (w window) Read16(off uint64) uint16     { return uint16(w.m.command("readw %#x", w.at(off, 2))) }
func (w window) Read32(off uint64) uint32     { return w.m.command("readl %#x", w.at(off, 4)) }
func (w window) Write8(off uint64, v uint8)   { w.m.command("writeb %#x %#x", w.at(off, 1), v) }
func (w window) Write16(off uint64, v uint16) { w.m.command("writew %#x %#x", w.at(off, 2), v) }
func (w window) Write32(off uint64, v uint32) { w.m.command("writel %#x %#x", w.at(off, 4), v) }

// interrupt is raised by hand or when its line, or its word in memory, says so.
type interrupt struct {
	m      *Machine
	raised atomic.Bool
	poll   func() bool
	addr   uint64
	msi    bool
}

func (i *interrupt) Raise() { i.raised.Store(true) }

func (i *interrupt) MSI() (uint64, uint32, bool) { return i.addr, 1, i.msi }

// Wait polls: the only event here is a register or a word that changes. It never
// returns once the machine has ended.
func (i *interrupt) Wait() {
	for !i.raised.Swap(false) && !i.poll() {
		if i.m.ended.Load() {
			select {}
		}
		runtime.Gosched()
	}
}

// LineInterrupt returns an interrupt that is raised while high says so.
func (m *Machine) LineInterrupt(high func() bool) hw.Interrupt {
	return &interrupt{m: m, poll: high}
}

// MSInterrupt returns a message-signalled interrupt of the device whose memory dma
// is. Its message goes to a word of that memory instead of a CPU.
func (m *Machine) MSInterrupt(dma *hw.DMA) hw.Interrupt {
	memory, err := dma.Alloc(page, hw.FromDevice)
	if err != nil {
		m.t.Fatal(err)
	}
	// The allocation is page-aligned, longer than 4 bytes, and mapped until the test ends.
	word := (*uint32)(unsafe.Pointer(&memory.Bytes[0]))
	return &interrupt{m: m, addr: memory.Bus, msi: true, poll: func() bool {
		return atomic.LoadUint32(word) != 0 && atomic.SwapUint32(word, 0) != 0
	}}
}
