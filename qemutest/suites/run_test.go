package suites

import (
	"bufio"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/vishvananda/netlink"
)

// TestRunCommand does what `make run` tells a person to: the builder boots an
// image, prints the QEMU line, and the page is at port 8080. What is typed goes to
// the shell, and QEMU's status is the command's. One image starts from a disk, by
// UEFI; the last one is what sluice.toml says, with its apps and in its memory. In a
// network namespace of its own, where the ports are free.
func TestRunCommand(t *testing.T) {
	if !namespace(t) {
		return
	}
	dir := t.TempDir()
	command := commandIn(t, dir)
	const title = "<title>Sluice</title>"
	for _, c := range []struct {
		name, machine string
		firmware      string // of qemu.Firmwares; "" for an ELF, which QEMU loads
		memory        int    // MiB
		args, ports   []string
		marks         []string // the machine is up when it has printed all
		visit         func(t *testing.T)
		typed         string
		status        int
	}{
		{
			"microvm", "microvm", "", 64, []string{"-manifest", "none", "-m", "64"}, []string{"8080-:80"},
			[]string{"dhcp: address acquired"}, func(t *testing.T) { visitPage(t, title) }, "poweroff\n", 0,
		},
		{
			"q35", "q35", "", 64, []string{"-manifest", "none", "-board", "pc", "-m", "64"}, []string{"8080-:80"},
			[]string{"dhcp: address acquired"}, func(t *testing.T) { visitPage(t, title) }, "fault wild\n", statusFault,
		},
		{
			"disk", "q35", "uefi", 256, []string{"-manifest", "none", "-board", "pc", "-m", "256", "-format", "raw", "-firmware", "uefi"}, []string{"8080-:80"},
			[]string{"sluice: loading ..", "dhcp: address acquired"}, func(t *testing.T) { visitPage(t, title) }, "poweroff\n", 0,
		},
		{
			"apps", "microvm", "", 128, []string{"-echo", "8007"}, []string{"8080-:80", "8007-:7"},
			[]string{"dhcp: address acquired", "web: web: https", "echo: echo: udp", "iperf: iperf: tcp and udp"}, visitApps, "poweroff\n", 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := filepath.Join(dir, c.name)
			cmd := exec.CommandContext(t.Context(), command, append([]string{"run", "-o", image}, c.args...)...)
			in, out := atRoot(t, cmd)
			progress := new(strings.Builder)
			cmd.Stderr = progress
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			netdev := "user"
			for _, p := range c.ports {
				netdev += ",hostfwd=tcp:127.0.0.1:" + p
			}
			args, err := qemu.Config{Machine: c.machine, Memory: c.memory, Image: image, Netdev: netdev, Firmware: c.firmware}.Args()
			if err != nil {
				t.Fatal(err)
			}
			text, up := new(strings.Builder), false
			missing := func(mark string) bool { return !strings.Contains(text.String(), mark) }
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				text.WriteString(lines.Text() + "\n")
				if up || slices.ContainsFunc(c.marks, missing) {
					continue
				}
				up = true
				c.visit(t)
				if _, err := in.Write([]byte(c.typed)); err != nil {
					t.Error(err)
				}
			}
			cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range append(c.marks, qemu.Shell(c.machine, args), "http://127.0.0.1:8080") {
				if missing(want) {
					t.Errorf("%q was not printed", want)
				}
			}
			// A line of the log may come between the prompt and what is typed.
			if missing("\n"+c.typed) && missing(qemutest.Prompt+c.typed) {
				t.Errorf("what was typed, %q, was not printed", c.typed)
			}
			if !missing("domain ended") {
				t.Error("a domain has ended")
			}
			if t.Failed() {
				t.Logf("printed:\n%s%s", text, progress)
			}
		})
	}
}

// commandIn builds the builder into a folder, in a network namespace of this test's own
// whose loopback it sets up.
func commandIn(t *testing.T, dir string) string {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(dir, "image")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "../../image").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return command
}

// TestRunGDB: `image run -gdb` has the machine wait for a debugger, which finds the kernel's functions
// by the symbols of the image that the line it prints names: a breakpoint at one is come to, and
// when the debugger has gone the machine goes on.
func TestRunGDB(t *testing.T) {
	if !namespace(t) {
		return
	}
	dir := t.TempDir()
	command := commandIn(t, dir)
	image := filepath.Join(dir, "kernel.elf")
	cmd := exec.CommandContext(t.Context(), command, "run", "-manifest", "none", "-http", "0", "-m", "64", "-gdb", "-o", image)
	in, out := atRoot(t, cmd)
	// The builder ends with the machine, not before it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() })
	// The machine waits: nothing of it is printed before the debugger comes.
	text, told, up := new(strings.Builder), false, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		switch {
		case !told && strings.Contains(lines.Text(), qemu.GDBLine("microvm", image)):
			told = true
			breaksAt(t, functionAt(t, image, "github.com/sluice-os/sluice/kernel.Main"))
		case !up && strings.Contains(lines.Text(), "dhcp: address acquired"):
			up = true
			if _, err := in.Write([]byte("poweroff\n")); err != nil {
				t.Error(err)
			}
		}
	}
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 0 || !told || !up {
		t.Errorf("status %d, the line to type was printed: %v, the machine went on: %v\n%s", status, told, up, text)
	}
}

// atRoot has a command run at the module's root, and returns where to type and what it prints.
func atRoot(t *testing.T, cmd *exec.Cmd) (in io.Writer, out io.Reader) {
	t.Helper()
	cmd.Dir = filepath.Join("..", "..")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	return in, out
}

// functionAt returns the address of a function by the DWARF of an image.
func functionAt(t *testing.T, image, name string) uint64 {
	t.Helper()
	file, err := elf.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	for r := symbols.Reader(); ; {
		e, err := r.Next()
		if err != nil || e == nil {
			t.Fatalf("%s is not in the DWARF of the image: %v", name, err)
		}
		if at, ok := e.Val(dwarf.AttrLowpc).(uint64); ok && e.Tag == dwarf.TagSubprogram && e.Val(dwarf.AttrName) == name {
			return at
		}
	}
}

// breaksAt has the machine that waits at gdb's port go on to an address, and leaves it to itself there.
func breaksAt(t *testing.T, at uint64) {
	t.Helper()
	var stub net.Conn
	for end := time.Now().Add(time.Minute); stub == nil; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:1234")
		if err == nil {
			stub = c
		} else if time.Now().After(end) {
			t.Fatalf("QEMU does not listen: %v", err)
		}
	}
	defer stub.Close()
	stub.SetDeadline(time.Now().Add(5 * time.Minute))
	answers := bufio.NewReader(stub)
	// ask sends a packet of gdb's remote protocol and returns the answer's payload.
	ask := func(packet string) string {
		t.Helper()
		sum := byte(0)
		for _, c := range []byte(packet) {
			sum += c
		}
		fmt.Fprintf(stub, "$%s#%02x", packet, sum)
		answer, err := answers.ReadString('#')
		if err == nil {
			_, err = answers.Discard(2)
		}
		if err != nil {
			t.Fatalf("%s: %q, %v", packet, answer, err)
		}
		io.WriteString(stub, "+")
		_, answer, _ = strings.Cut(strings.TrimSuffix(answer, "#"), "$")
		return answer
	}
	const stopped = "T05" // by SIGTRAP
	if got := ask("?"); !strings.HasPrefix(got, stopped) {
		t.Fatalf("the machine has not stopped: %q", got)
	}
	// Before the first instruction the image is not in memory: the breakpoint is of the hardware.
	if got := ask(fmt.Sprintf("Z1,%x,1", at)); got != "OK" {
		t.Fatalf("no breakpoint: %q", got)
	}
	if got := ask("c"); !strings.HasPrefix(got, stopped) {
		t.Fatalf("the breakpoint is not come to: %q", got)
	}
	registers, err := hex.DecodeString(ask("g"))
	const rip = 16 * 8 // behind 16 general registers
	if err != nil || len(registers) < rip+8 || binary.LittleEndian.Uint64(registers[rip:]) != at {
		t.Errorf("the machine has stopped elsewhere than at %#x: %x, %v", at, registers, err)
	}
	if got := ask("D"); got != "OK" {
		t.Errorf("the debugger cannot go: %q", got)
	}
}

// visitPage wants something of the page at port 8080.
func visitPage(t *testing.T, want string) {
	t.Helper()
	text := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://127.0.0.1:8080/")
	if !strings.Contains(text, want) {
		t.Errorf("the page:\n%s", text)
	}
}

// visitApps has web and echo serve, several at a time and a long answer too.
func visitApps(t *testing.T) {
	visitPage(t, "<title>Sluice</title>")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 10 {
				r, err := client.Get("http://127.0.0.1:8080/hello")
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || string(text) != "Hello, world.\n" {
					t.Errorf("/hello is %q, %v", text, err)
				}
			}
		})
	}
	clients.Wait()
	const long = 4 << 20
	if n := len(fetch(t, fmt.Sprintf("http://127.0.0.1:8080/hash?n=%d", long))); n != long {
		t.Errorf("%d of %d bytes came", n, long)
	}
	echoes(t, "tcp", "127.0.0.1:8007")
	var stats struct {
		Domains []struct{ Name, State string }
	}
	if err := json.Unmarshal(fetch(t, "http://127.0.0.1:8080/stats.json"), &stats); err != nil || len(stats.Domains) != 3 {
		t.Errorf("the page's numbers: %v, %v", stats, err)
	}
	for _, d := range stats.Domains {
		if d.State != "running" {
			t.Errorf("%s is %s", d.Name, d.State)
		}
	}
}
