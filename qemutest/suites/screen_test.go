package suites

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// TestScreen reads the frame buffer of machines that were started from a disk: it shows
// what the serial port shows, as text of VGA's and in pixels.
func TestScreen(t *testing.T) {
	image := diskWith(t, "raw", "")
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			vm := qemutest.Start(t, qemutest.Config{
				Machine: "q35", Image: image, Firmware: firmware, Memory: 256, Extra: []string{"-device", "VGA"},
			})
			vm.Seen(t, "ready")
			vm.Command(t, "uptime")
			shown := screenOf(t, vm)
			for _, want := range []string{"sluice: version ", "INFO  screen width=", "INFO  ready", "uptime", "up 0"} {
				if !strings.Contains(shown, want) {
					t.Errorf("%q is not on the screen:\n%s", want, shown)
				}
			}
		})
	}
}

// screenOf reads the screen that the kernel says it has.
func screenOf(t *testing.T, vm *qemutest.VM) string {
	t.Helper()
	words := vm.Times(t, 0, `screen width=(\d+) height=(\d+) format=(\d+) at=(0x[0-9a-f]+)`, 1)
	width, height := number(t, words[1]), number(t, words[2])
	at, err := strconv.ParseUint(words[4], 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	if words[3] == "256" {
		return cells(memoryAt(t, vm, at, 2*width*height), width)
	}
	return letters(t, memoryAt(t, vm, at, 4*width*height), width)
}

// memoryAt reads physical memory.
func memoryAt(t *testing.T, vm *qemutest.VM, at uint64, n int) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "memory")
	vm.Execute(t, "pmemsave", map[string]any{"val": at, "size": n, "filename": name}, nil)
	b, err := os.ReadFile(name)
	if err != nil || len(b) != n {
		t.Fatalf("%v, %d bytes", err, len(b))
	}
	return b
}

// cells reads a screen of text.
func cells(b []byte, width int) string {
	var s strings.Builder
	for i := 0; i < len(b); i += 2 {
		s.WriteByte(b[i])
		if i/2%width == width-1 {
			s.WriteByte('\n')
		}
	}
	return s.String()
}

// letters reads pixels of 4 bytes by the kernel's font.
func letters(t *testing.T, b []byte, width int) string {
	t.Helper()
	font, err := os.ReadFile("../../kernel/screen/font.bin")
	if err != nil {
		t.Fatal(err)
	}
	known := map[[16]byte]byte{}
	for i := 0; i < len(font); i += 16 {
		known[[16]byte(font[i:])] = byte(' ' + i/16)
	}
	var s strings.Builder
	for y := 0; (y+16)*width*4 <= len(b); y += 16 {
		for x := 0; x+8 <= width; x += 8 {
			var bits [16]byte
			for j := range 16 {
				for i := range 8 {
					if b[4*((y+j)*width+x+i)] != 0 {
						bits[j] |= 0x80 >> i
					}
				}
			}
			s.WriteByte(known[bits])
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// TestRebootByUEFI has the firmware reset the machine, which it does by its own means.
func TestRebootByUEFI(t *testing.T) {
	vm := qemutest.Start(t, qemutest.Config{Machine: "q35", Image: diskWith(t, "raw", ""), Firmware: "uefi", Memory: 256})
	vm.Seen(t, "ready")
	vm.Type(t, "reboot\n")
	vm.Seen(t, "reboot by=UEFI")
	if status := vm.Wait(t); status != 0 || vm.Shutdown() != "guest-reset" {
		t.Errorf("reboot ended QEMU with status %d, reason %q; want 0, guest-reset", status, vm.Shutdown())
	}
}
