package suites

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

// TestScreen reads the frame buffer of machines that were started from a disk: it shows
// what the serial port shows, as text of VGA's and in pixels, up to the end of a report of what
// the kernel could not survive.
func TestScreen(t *testing.T) {
	image := diskWith(t, "raw", "panic=halt")
	for _, c := range []struct{ machine, firmware, fails, reports string }{
		{"q35", "bios", "wild", "sluice: fatal: page fault (vector 14"},
		{"q35", "uefi", "wild", "sluice: fatal: page fault (vector 14"},
		{"pc", "bios", "panic", "panic: the console asked for a panic"},
		{"pc", "uefi", "panic", "panic: the console asked for a panic"}, // which a prompt may precede
	} {
		t.Run(c.machine+"/"+c.firmware, func(t *testing.T) {
			vm := qemutest.Start(t, qemutest.Config{
				Machine: c.machine, Image: image, Firmware: c.firmware, Memory: 256, Unchecked: true,
				Extra: []string{"-device", "VGA"},
			})
			vm.Seen(t, "ready")
			vm.Command(t, "uptime")
			for _, want := range []string{"sluice: version ", "INFO  screen width=", "INFO  ready", "uptime", "up 0"} {
				isOn(t, screenOf(t, vm), want)
			}
			vm.Type(t, "fault "+c.fails+"\n")
			vm.Seen(t, c.reports)
			vm.Seen(t, "sluice: halted\n")
			_, report, _ := strings.Cut(vm.Output(), c.reports)
			endsWith(t, vm, c.reports+report)
		})
	}
}

// isOn fails a test whose screen does not show a text. A line that is longer than the screen
// goes on in the next one.
func isOn(t *testing.T, shown, want string) {
	t.Helper()
	if !strings.Contains(strings.ReplaceAll(shown, "\n", ""), want) {
		t.Errorf("%q is not on the screen:\n%s", want, shown)
	}
}

// endsWith waits until the screen ends with a text, or with as many of its last lines as it has
// room for.
func endsWith(t *testing.T, vm *qemutest.VM, text string) {
	t.Helper()
	width, height := sizeOf(t, vm)
	var want []string
	for line := range strings.Lines(text) {
		// Tabs are not shown, and a line that is longer goes on in the next one.
		line = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(line)
		for ; len(line) > width; line = line[width:] {
			want = append(want, strings.TrimRight(line[:width], " "))
		}
		want = append(want, strings.TrimRight(line, " "))
	}
	want = want[max(0, len(want)-height+1):] // the last line is empty
	for deadline := time.Now().Add(30 * time.Second); ; {
		var shown []string
		for line := range strings.Lines(screenOf(t, vm)) {
			shown = append(shown, strings.TrimRight(line, " \n"))
		}
		last := strings.TrimRight(strings.Join(shown, "\n"), "\n")
		if strings.HasSuffix(last, strings.Join(want, "\n")) {
			return
		}
		// The last line feed moves the text when the serial port has shown it.
		if time.Now().After(deadline) {
			t.Fatalf("the screen ends with\n%s\nnot with\n%s", last, strings.Join(want, "\n"))
		}
	}
}

// sizeOf is how many letters a line of the screen has that the kernel says it has, and how many
// lines there are.
func sizeOf(t *testing.T, vm *qemutest.VM) (width, height int) {
	t.Helper()
	words := vm.Times(t, 0, `screen width=(\d+) height=(\d+) format=(\d+)`, 1)
	width, height = number(t, words[1]), number(t, words[2])
	if words[3] != "256" {
		return width / 8, height / 16
	}
	return width, height
}

// picture reads the screen as one who looks at it, and needs nothing that the kernel says.
func picture(t *testing.T, vm *qemutest.VM, firmware string) string {
	t.Helper()
	if firmware == "bios" {
		return cells(memoryAt(t, vm, 0xb8000, 2*80*25), 80)
	}
	name := filepath.Join(t.TempDir(), "picture")
	vm.Execute(t, "screendump", map[string]any{"filename": name}, nil)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var width, height int
	head := "P6\n%d %d\n255\n"
	if _, err := fmt.Sscanf(string(b), head, &width, &height); err != nil {
		t.Fatalf("%.20q: %v", b, err)
	}
	b = b[len(fmt.Sprintf(head, width, height)):]
	if len(b) != 3*width*height {
		t.Fatalf("%d by %d pixels in %d bytes", width, height, len(b))
	}
	pixels := make([]byte, 4*width*height)
	for i := range width * height {
		copy(pixels[4*i:], b[3*i:][:3])
	}
	return letters(t, pixels, width)
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
