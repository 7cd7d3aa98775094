package suites

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// Exit statuses of QEMU; see docs/kernel.md.
const (
	statusPanic = 3
	statusFault = 5
)

// fail boots a machine and makes its kernel fail in the given way.
func fail(t *testing.T, c qemutest.Config, how string) (vm *qemutest.VM, buildID string) {
	t.Helper()
	vm = start(t, c)
	buildID = vm.ExpectRegexp(t, `sluice: version .* build (\S+)`)[1]
	vm.Seen(t, qemutest.Prompt)
	vm.Type(t, "fault "+how+"\n")
	return vm, buildID
}

// TestFault: an access that no goroutine can take ends the machine with
// everything that is known.
func TestFault(t *testing.T) {
	const (
		page    = "page fault (vector 14"
		general = "general protection fault (vector 13, code 0x0)"
	)
	for _, c := range []struct{ machine, how, says, trace string }{
		{"microvm", "wild", page, "kernel.fault"},
		{"q35", "wild", page, "kernel.fault"},
		{"microvm", "canonical", general, "kernel.fault"}, // not an address
		{"microvm", "text", page, "kernel.fault"},         // text is not written
		{"microvm", "alias", page, "kernel.fault"},        // nor by its alias in the direct map
		{"q35", "guard", page, "kernel.fault"},            // the page below a stack is not there
		{"microvm", "data", page, ""},                     // data does not execute
	} {
		t.Run(c.machine+"/"+c.how, func(t *testing.T) {
			vm, id := fail(t, qemutest.Config{Machine: c.machine}, c.how)
			vm.Expect(t, "sluice: fatal: "+c.says)
			if c.how == "wild" {
				vm.Expect(t, "at address 0x0000123456789000")
			}
			vm.ExpectRegexp(t, `RIP 0x[0-9a-f]{16} .*RSP 0x[0-9a-f]{16}`)
			vm.ExpectRegexp(t, `RAX 0x[0-9a-f]{16}`)
			vm.ExpectRegexp(t, `R15 0x[0-9a-f]{16}`)
			vm.Expect(t, "trace:\n")
			if c.trace != "" {
				vm.ExpectRegexp(t, regexp.QuoteMeta(c.trace)+`\n\s+\S+\.go:\d+ \+0x[0-9a-f]+`)
			}
			vm.Expect(t, "build "+id)
			vm.Expect(t, "last log lines:\n")
			vm.ExpectRegexp(t, `msg|INFO|WARN`)
			if status := vm.Wait(t); status != statusFault {
				t.Errorf("QEMU ended with status %d, want %d", status, statusFault)
			}
		})
	}
}

// TestPanic: a Go panic that nobody recovers prints Go's own report, then the
// build id and the log.
func TestPanic(t *testing.T) {
	for _, machine := range boards {
		t.Run(machine, func(t *testing.T) {
			vm, id := fail(t, qemutest.Config{Machine: machine}, "panic")
			vm.Expect(t, "panic: the console asked for a panic")
			vm.ExpectRegexp(t, `goroutine \d+`)
			vm.ExpectRegexp(t, `kernel\.fault\(`)
			vm.Expect(t, "build "+id)
			vm.Expect(t, "last log lines:\n")
			if status := vm.Wait(t); status != statusPanic {
				t.Errorf("QEMU ended with status %d, want %d", status, statusPanic)
			}
		})
	}
}

// TestStackOverflow: recursion without end hits a limit and not other memory.
func TestStackOverflow(t *testing.T) {
	vm, id := fail(t, qemutest.Config{}, "stack")
	vm.ExpectRegexp(t, `(?i)stack (overflow|exceeds)|guard page`)
	vm.ExpectRegexp(t, `kernel\.recurse`)
	vm.Expect(t, "build "+id)
	if status := vm.Wait(t); status != statusPanic && status != statusFault {
		t.Errorf("QEMU ended with status %d, want %d or %d", status, statusPanic, statusFault)
	}
}

// TestRecovered: a nil dereference and a division by zero are Go panics, which
// recover catches; the kernel goes on.
func TestRecovered(t *testing.T) {
	vm := start(t, qemutest.Config{})
	for how, want := range map[string]string{
		"nil":    "nil pointer dereference",
		"divide": "integer divide by zero",
	} {
		for range 3 {
			if text := vm.Command(t, "fault "+how); !strings.Contains(text, "recovered:") || !strings.Contains(text, want) {
				t.Errorf("fault %s printed %q, want recovered: ... %s", how, text, want)
			}
		}
	}
	powerOff(t, vm)
}

// TestLoop: a goroutine that never yields stops neither shell nor network.
func TestLoop(t *testing.T) {
	vm, peer := startWithPeer(t, qemutest.Config{})
	vm.Seen(t, qemutest.Prompt)
	if text := vm.Command(t, "fault loop"); !strings.Contains(text, "a goroutine loops for ever") {
		t.Fatalf("fault loop printed %q", text)
	}
	peer.Ping(t, peer.Address4())
	if body := get(t, peer.HTTP(), url(peer.Address4(), "/healthz")); body != "ok\n" {
		t.Errorf("/healthz says %q, want ok", body)
	}
	vm.Command(t, "uptime")
	powerOff(t, vm)
}

// TestNMI: an NMI is fatal and says so.
func TestNMI(t *testing.T) {
	vm := start(t, qemutest.Config{Machine: "q35"})
	vm.Seen(t, qemutest.Prompt)
	vm.InjectNMI(t)
	vm.ExpectRegexp(t, `sluice: fatal: .*(?i:nmi|non-maskable).*`)
	if status := vm.Wait(t); status != statusFault {
		t.Errorf("QEMU ended with status %d, want %d", status, statusFault)
	}
}

// TestMachineCheck: so is an error of the machine.
func TestMachineCheck(t *testing.T) {
	for _, machine := range boards {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine})
			vm.Seen(t, qemutest.Prompt)
			vm.InjectMachineCheck(t)
			vm.Expect(t, "sluice: fatal: machine check (vector 18")
			vm.Expect(t, "last log lines:\n")
			if status := vm.Wait(t); status != statusFault {
				t.Errorf("QEMU ended with status %d, want %d", status, statusFault)
			}
		})
	}
}

// TestPanicOption: panic= says what follows a fatal fault.
func TestPanicOption(t *testing.T) {
	t.Run("reboot", func(t *testing.T) {
		vm, _ := fail(t, qemutest.Config{Append: "panic=reboot"}, "wild")
		vm.Expect(t, "sluice: fatal: ")
		if status := vm.Wait(t); status != 0 || vm.Shutdown() != "guest-reset" {
			t.Errorf("QEMU ended with status %d, reason %q; want 0, guest-reset", status, vm.Shutdown())
		}
	})
	t.Run("halt", func(t *testing.T) {
		vm, _ := fail(t, qemutest.Config{Append: "panic=halt", Unchecked: true}, "wild")
		vm.Expect(t, "sluice: fatal: ")
		vm.Expect(t, "sluice: halted")
		var state struct{ Status string }
		vm.Execute(t, "query-status", nil, &state)
		if state.Status != "running" {
			t.Errorf("QEMU is %q, want running: the machine keeps its console", state.Status)
		}
	})
}
