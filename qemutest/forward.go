package qemutest

// Ports of the machine on QEMU's user network. QEMU binds free ports and tells
// which, so that two tests never want the same one.

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// userNetdev returns the value of -netdev for the given "tcp/80".
func userNetdev(forward []string) (string, error) {
	s := "user"
	for _, f := range forward {
		network, port, err := splitPort(f)
		if err != nil {
			return "", err
		}
		s += fmt.Sprintf(",hostfwd=%s:127.0.0.1:0-:%d", network, port)
	}
	return s, nil
}

func splitPort(s string) (network string, port int, err error) {
	network, digits, _ := strings.Cut(s, "/")
	port, err = strconv.Atoi(digits)
	if err != nil || port < 1 || port > 65535 || network != "tcp" && network != "udp" {
		return "", 0, fmt.Errorf("port %q: want tcp/N or udp/N with N from 1 to 65535", s)
	}
	return network, port, nil
}

// forwardLine matches a line of QEMU's "info usernet":
//
//	TCP[HOST_FORWARD]   8       127.0.0.1 33339       10.0.2.15    80     0     0
var forwardLine = regexp.MustCompile(`(TCP|UDP)\[HOST_FORWARD\]\s+\S+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)`)

// parseForwards returns host addresses by "tcp/80".
func parseForwards(info string) map[string]string {
	found := map[string]string{}
	for _, m := range forwardLine.FindAllStringSubmatch(info, -1) {
		found[strings.ToLower(m[1])+"/"+m[4]] = net.JoinHostPort(m[2], m[3])
	}
	return found
}

// readForwards asks QEMU for the ports it bound.
func (v *VM) readForwards(want []string) (map[string]string, error) {
	var info string
	err := v.control.execute(v.ctx, "human-monitor-command", map[string]any{"command-line": "info usernet"}, &info)
	if err != nil {
		return nil, err
	}
	found := parseForwards(info)
	for _, w := range want {
		if found[w] == "" {
			return nil, fmt.Errorf("QEMU did not forward %s: info usernet says\n%s", w, info)
		}
	}
	return found, nil
}

// Forwarded returns the address on this host that leads to a port of the
// machine; port is one of Config.Forward.
func (v *VM) Forwarded(t testing.TB, port string) string {
	t.Helper()
	addr, ok := v.forward[port]
	if !ok {
		t.Fatalf("qemutest: port %q is not in Config.Forward", port)
	}
	return addr
}
