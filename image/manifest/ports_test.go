package manifest

import (
	"strings"
	"testing"

	"github.com/sluice-os/sluice/nexus/netns"
)

func TestListenOnAnyPort(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/*\", \"udp/*\", \"tcp/80\"]\n", ""},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/*\"]\n[domain.b]\npackage = \"./b\"\nlisten = [\"tcp/*\", \"tcp/80\"]\n[domain.c]\npackage = \"./c\"\nlisten = [\"tcp/443\"]\n", ""},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/*\", \"tcp/*\"]\n", "domain a listens on tcp/* twice"},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"*\"]\n", `listen "*"`},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/**\"]\n", `listen "tcp/**"`},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"icmp/*\"]\n", `listen "icmp/*"`},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"ip/89\"]\n[domain.b]\npackage = \"./b\"\nlisten = [\"ip/112\"]\n", ""},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"ip/89\"]\n[domain.b]\npackage = \"./b\"\nlisten = [\"ip/89\"]\n", "both listen on ip/89"},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"udp/68\"]\n", "domain a listens on udp/68: want another port"},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/68\", \"udp/67\"]\n", ""},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"ip/6\"]\n", `listen "ip/6"`},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"ip/*\"]\n", `listen "ip/*"`},
		{"[domain.a]\npackage = \"./a\"\nconnect = [\"tcp/10.0.0.256:80\"]\n", `connect "tcp/10.0.0.256:80"`},
		{"[domain.a]\npackage = \"./a\"\nconnect = [\"tcp/[fe80::1%eth0]:80\"]\n", `connect "tcp/[fe80::1%eth0]:80"`},
	} {
		_, err := Parse([]byte(c.text), FileName)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

// FuzzWords: what passes here is what the machine's own policy takes.
func FuzzWords(f *testing.F) {
	for _, word := range []string{"tcp/80", "udp/*", "tcp/0", "tcp/*:443", "udp/192.0.2.1:53", "tcp/10.0.0.0/8:*", "tcp/[2001:db8::/32]:443",
		"tcp/[fe80::1%eth0]:1", "tcp/example.com:443", "tcp/a.b.1:2", "tcp/[1.2.3.4]:1", "tcp/::1:1", "tcp/:1", "tcp/a.:1", "ip/89", "ip/6", "ip/256", "ip/+9", "ip/*"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if _, err := netns.ParsePolicy([]string{word}, nil); (err == nil) != validListen(word) {
			t.Errorf("listen %q: %v", word, err)
		}
		if _, err := netns.ParsePolicy(nil, []string{word}); (err == nil) != validPeer(word) {
			t.Errorf("connect %q: %v", word, err)
		}
	})
}
