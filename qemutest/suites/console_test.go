package suites

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// TestCommands runs every command once and looks for what it is about.
func TestCommands(t *testing.T) {
	vm, peer := startWithPeer(t, qemutest.Config{Machine: "q35"})
	peer.Ping(t, peer.Address4())
	for _, c := range []struct{ line, want string }{
		{"help", "netstat -s"},
		{"ip addr", "inet 10.0.2.15/24"},
		{"ip route", "default via 10.0.2.2"},
		{"ip neigh", "10.0.2.2 dev eth0 lladdr 02:00:00:00:00:02"},
		{"ip link", "eth0: <"},
		{"netstat -s", "ip:"},
		{"mem", "Mem:"},
		{"dmesg", "dhcp: address acquired"},
		{"pci", "Ethernet"},
		{"uptime", "up "},
		{"counters", "host_rx_frames"},
		{"frobnicate", "unknown command"},
		{"ip", "want: ip addr"},
		{"ping -c x 10.0.2.2", "bad number of packets"},
	} {
		if text := vm.Command(t, c.line); !strings.Contains(strings.ToLower(text), strings.ToLower(c.want)) {
			t.Errorf("%s printed, without %q:\n%s", c.line, c.want, text)
		}
	}
	pings(t, vm, "10.0.2.2")
}

// pings has the shell ping an address until it is answered, and returns what the ping printed that
// was: it waits for a second, in which the host may let the machine stand still.
func pings(t *testing.T, vm *qemutest.VM, to string) string {
	t.Helper()
	return pingsAll(t, vm, 1, to)
}

// pingsAll is pings for several requests, each of which one ping has answered.
func pingsAll(t *testing.T, vm *qemutest.VM, n int, to string) string {
	t.Helper()
	for {
		text := vm.Command(t, fmt.Sprintf("ping -c %d %s", n, to))
		if strings.Contains(text, fmt.Sprintf("%d packets transmitted, %d received,", n, n)) {
			return text
		}
	}
}

// TestConsoleInput feeds the console what no person types: nothing of it stops
// the shell.
func TestConsoleInput(t *testing.T) {
	vm := start(t, qemutest.Config{})
	vm.Seen(t, qemutest.Prompt)
	vm.Type(t, strings.Repeat("x", 5000)+"\n")
	vm.Expect(t, "line too long")
	vm.Expect(t, "\n"+qemutest.Prompt)
	var garbage strings.Builder
	for i := range 2048 {
		if b := byte(i*7 + i/256); !strings.ContainsRune("\r\n\x03", rune(b)) {
			garbage.WriteByte(b)
		}
	}
	// The tilde ends an escape sequence, if one was begun.
	vm.Type(t, garbage.String()+"~~\x03")
	vm.Expect(t, "^C\n"+qemutest.Prompt)
	if text := vm.Command(t, "help"); !strings.Contains(text, "poweroff") {
		t.Errorf("help printed %q", text)
	}
}
