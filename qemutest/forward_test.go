package qemutest

import (
	"maps"
	"testing"
)

func TestParseForwards(t *testing.T) {
	// As QEMU 7.2 prints it, with an established connection behind.
	const info = "Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n" +
		"  TCP[HOST_FORWARD]   8       127.0.0.1 33339       10.0.2.15    80     0     0\r\n" +
		"  UDP[HOST_FORWARD]   3       127.0.0.1 47558       10.0.2.15     7     0     0\r\n" +
		"  TCP[ESTABLISHED]   13       127.0.0.1 41000       10.0.2.15    80     0     0\r\n"
	want := map[string]string{"tcp/80": "127.0.0.1:33339", "udp/7": "127.0.0.1:47558"}
	if got := parseForwards(info); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUserNetdev(t *testing.T) {
	got, err := userNetdev([]string{"tcp/80", "udp/7"})
	if want := "user,hostfwd=tcp:127.0.0.1:0-:80,hostfwd=udp:127.0.0.1:0-:7"; got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"", "80", "tcp", "tcp/", "tcp/0", "tcp/65536", "sctp/80", "tcp/80/90", "tcp/-1"} {
		if _, err := userNetdev([]string{bad}); err == nil {
			t.Errorf("port %q was accepted", bad)
		}
	}
}
