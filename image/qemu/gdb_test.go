package qemu

import (
	"slices"
	"strings"
	"testing"
)

// TestGDB: each machine waits for the debugger, whose line is of its architecture.
func TestGDB(t *testing.T) {
	for machine := range Machines {
		args, err := Config{Machine: machine, Memory: MemoryMin, Image: "kernel.elf", GDB: true}.Args()
		if err != nil || !slices.Contains(args, "-s") || !slices.Contains(args, "-S") {
			t.Errorf("%s: %v, %q", machine, err, args)
		}
		want := "i386:x86-64"
		if machine == "virt" {
			want = "aarch64"
		}
		if line := GDBLine(machine, "kernel.elf"); !strings.Contains(line, want) || !strings.Contains(line, ":1234") || !strings.HasSuffix(line, " kernel.elf") {
			t.Errorf("%s: %s", machine, line)
		}
	}
	args, err := Config{Machine: "q35", Memory: MemoryMin, Image: "kernel.elf"}.Args()
	if err != nil || slices.Contains(args, "-S") {
		t.Errorf("a machine waits that was not asked to: %v, %q", err, args)
	}
}
