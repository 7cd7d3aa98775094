package main

import (
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func TestPlaceOf(t *testing.T) {
	for _, c := range []struct {
		pkg            string
		kernel, domain place
	}{
		{module + "drivers/virtio/net", placeCard, placeCard},
		{module + "kernel/host", placePoller, placePoller},
		{module + "kernel/hostile", placeKernel, placeSockets},
		{module + "nexus/aqm", placePoller, placePoller},
		{module + "nexus/flowswitch", placeNexus, placeChannel},
		{module + "kernel/domain", placeKernel, placeSockets},
		{"gvisor.dev/gvisor/pkg/tcpip/stack", placeHostStack, placeStack},
		{"internal/sluice/mod/gvisor.dev/gvisor/pkg/tcpip/stack", placeHostStack, placeStack},
		{"internal/sluice/link", placeNexus, placeChannel},
		{"internal/sluice/socket", placeKernel, placeSockets},
		{"internal/sluice/rt", placeRuntime, placeRuntime},
		{"runtime", placeKernelRuntime, placeRuntime},
		{"internal/runtime/maps", placeKernelRuntime, placeRuntime},
		{"", placeKernelRuntime, placeRuntime},
		{"main", placeKernel, placeProgram},
		{"net/http", placeKernel, placeProgram},
		{"runtimes", placeKernel, placeProgram},
	} {
		if k, d := placeOf(c.pkg, false), placeOf(c.pkg, true); k != c.kernel || d != c.domain {
			t.Errorf("%q is at %d in the kernel and %d in a domain, want %d and %d", c.pkg, k, d, c.kernel, c.domain)
		}
	}
}

func TestInstructions(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := readFunctions(path, false)
	if err != nil {
		t.Fatal(err)
	}
	domain, err := readFunctions(path, true)
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(reflect.ValueOf(runtime.GC).Pointer())
	for _, f := range kernel.table.Funcs { // the test may be at another address than its file
		if f.Name == "runtime.GC" {
			at = f.Entry
		}
	}
	const digits = "0123456789abcdef"
	hex := func(n uint64, width int) string {
		b := make([]byte, width)
		for i := range b {
			b[width-1-i] = digits[n>>(4*i)&15]
		}
		return string(b)
	}
	line := func(pc, flags uint64) string {
		return "Trace 0: 0x7f1e34000100 [" + hex(0, 16) + "/" + hex(pc, 16) + "/" + hex(flags, 8) + "/ff000201] name\n"
	}
	got, err := instructions(strings.NewReader(line(at, 0xc0b0)+"Stopped execution of TB chain before 0x7f [0] \n"+line(at, 0xc0b3)+line(at+1, 0xc0b3)+line(1, 0xc0b0)), kernel, domain)
	want := [places]uint64{placeKernelRuntime: 2, placeRuntime: 2}
	if err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"Trace 0: 0x7f [0/1/2/3]\n", "Trace 0: 0x7f [\n", strings.Replace(line(at, 3), "/00", "/x0", 1), strings.Replace(line(at, 3), "/ff", "xff", 1), strings.Replace(line(at, 3), "/00000003", "/0000000x", 1)} {
		if _, err := instructions(strings.NewReader(bad), kernel, domain); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
