package manifest

import (
	"strings"
	"testing"
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
