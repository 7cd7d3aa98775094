package manifest

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/restart"
)

const goodText = `board = "pc"
memory = "256MiB"

[host]
ip = "192.0.2.5/24"
gw = "192.0.2.1"
dns = ["192.0.2.2"]
ip6 = "off"
qdisc = "fifo"

[domain.web]
package = "./web"
args = ["-v", "two words"]
env = { B = "2", A = "1" }
memory = "32MiB"
weight = 300
cap = "12.5%"
restart = "always"
backoff = "2s"
backoff-max = "10s"
files = { "/etc/web.conf" = "web.conf" }
listen = ["tcp/80", "udp/53"]
connect = ["tcp/*:443", "udp/192.0.2.0/24:*", "tcp/[2001:db8::1]:25", "tcp/example.org:80"]
rate = "10mbit"
pinned = true
start = false

[domain.clock]
package = "example.org/clock"
`

func TestParse(t *testing.T) {
	m, err := Parse([]byte(goodText), FileName)
	if err != nil {
		t.Fatal(err)
	}
	if m.Board != "pc" || m.Memory != 256<<20 || !reflect.DeepEqual(m.Options, []string{"ip=192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.2", "ip6=off", "qdisc=fifo"}) {
		t.Errorf("got %+v", m)
	}
	if len(m.Domains) != 2 || m.Domains[0].Name != "web" || m.Domains[1].Name != "clock" {
		t.Fatalf("got %+v", m.Domains)
	}
	web, clock := m.Domains[0], m.Domains[1]
	if web.Package != "./web" || web.Quota != 32<<20 || web.Weight != 300 || web.Cap != 125 || web.Policy != restart.Always ||
		web.Backoff != 2*time.Second || web.BackoffMax != 10*time.Second || web.Start || !web.Pinned || web.Rate != 10e6 || web.Files["/etc/web.conf"] != "web.conf" ||
		!reflect.DeepEqual(web.Env, []string{"A=1", "B=2"}) || !reflect.DeepEqual(web.Args, []string{"-v", "two words"}) {
		t.Errorf("web is %+v", web)
	}
	if clock.Quota != defaultQuota || clock.Weight != 100 || clock.Policy != restart.OnFailure || !clock.Start || clock.Pinned || clock.Rate != 0 {
		t.Errorf("clock is %+v", clock)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"bord = \"pc\"", `1: unknown key "bord": did you mean board?`},
		{"[domain.a]\npackage = \"./a\"\nfrobnicate = 1", `3: unknown key "domain.a.frobnicate": want one of package, args`},
		{"board = \"toaster\"", `1: unknown board "toaster": the boards are microvm, pc`},
		{"board = 3", `1: `},
		{"board = ", `1: `},
		{"\nmemory = \"lots\"", `2: the size "lots": want one like "16MiB"`},
		{"memory = \"0MiB\"", `1: the size`},
		{"memory = \"64KB\"", `1: the size`},
		{"[host]\nip = \"1.2.3\"", `2: "ip=1.2.3"`},
		{"[host]\nip6 = \"on off\"", `2: "ip6=on off" has a blank`},
		{"[host]\nqdisc = \"red\"", `2: "qdisc=red": want aqm or fifo`},
		{"[domain.a]\npackage = \"./a\"\nrate = \"10Mbit\"", `3: the rate "10Mbit": want one like "500kbit"`},
		{"[domain.a]\npackage = \"./a\"\nrate = 10", `3: "domain.a.rate" is of the wrong type: want a string`},
		{"[host]\ngw = \"192.0.2.1\"", `1: gw and dns without an address`},
		{"[domain.a]", `1: domain a has no package`},
		{"[domain.a]\npackage = \"-o x\"", `2: "-o x" is no package`},
		{"[domain.A]\npackage = \"./a\"", `1: domain A: the name "A"`},
		{"[domain.a]\npackage = \"./a\"\nmemory = \"512KiB\"", `1: domain a: a memory of 512 KiB: want 1 MiB`},
		{"[domain.a]\npackage = \"./a\"\nweight = 0", `1: domain a: the weight 0`},
		{"[domain.a]\npackage = \"./a\"\ncap = \"150%\"", `3: the cap "150%"`},
		{"[domain.a]\npackage = \"./a\"\ncap = \"half\"", `3: the cap "half"`},
		{"[domain.a]\npackage = \"./a\"\nrestart = \"sometimes\"", `3: the restart policy "sometimes": want never, on-failure or always`},
		{"[domain.a]\npackage = \"./a\"\nbackoff = \"soon\"", `3: the duration "soon"`},
		{"[domain.a]\npackage = \"./a\"\nbackoff = \"-1s\"", `3: the duration "-1s"`},
		{"[domain.a]\npackage = \"./a\"\nbackoff = \"2s\"\nbackoff-max = \"1s\"", `1: domain a: a back-off of 2s up to 1s`},
		{"[domain.a]\npackage = \"./a\"\nfiles = { \"etc/x\" = \"x\" }", `3: the path "etc/x" in the domain`},
		{"[domain.a]\npackage = \"./a\"\n[domain.a.files]\n\"/x\" = \"../x\"", `4: the file "../x": want a path below`},
		{"[domain.a]\npackage = \"./a\"\npinned = \"yes\"", `3: "domain.a.pinned" is of the wrong type: want true or false`},
		{"[domain.a]\npackage = \"./a\"\npined = true", `3: unknown key "domain.a.pined": did you mean pinned?`},
		{"[domain.a]\npackage = \"./a\"\npipes = \"log\"", `3: "domain.a.pipes" is of the wrong type: want a list of strings`},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/0\"]", `3: listen "tcp/0": want one like "tcp/80"`},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"80\"]", `3: listen "80"`},
		{"[domain.a]\npackage = \"./a\"\nconnect = [\"tcp/host\"]", `3: connect "tcp/host"`},
		{"[domain.a]\npackage = \"./a\"\nconnect = [\"tcp/-x:1\"]", `3: connect "tcp/-x:1"`},
		{"[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/80\"]\n[domain.b]\npackage = \"./b\"\nlisten = [\"tcp/80\"]", `6: domains a and b both listen on tcp/80`},
		{"[domain.a]\npackage = \"./a\"\npipes = [\"log\"]", `3: the pipe log has 1 domains: want two`},
		{"[domain.a]\npackage = \"./a\"\npipes = [\"Log\"]", `3: the pipe "Log": want a letter, then letters, digits and -, all small, 31 at most`},
		{"[domain.a]\npackage = \"./a\"\npipes = [\"x\", \"x\"]\n[domain.b]\npackage = \"./b\"\npipes = [\"x\"]", `3: domain a has the pipe x twice: want it once`},
		{"[domain.a]\npackage = \"./a\"\n[domain.a]\npackage = \"./b\"", `3: `},
		{"memory = \"100MiB\"\n[domain.a]\npackage = \"./a\"\nmemory = \"40MiB\"", `1: the domains that start with the machine may take 40 MiB and the kernel needs 64, but the machine has 100 MiB: want memory = "104MiB" or smaller domains`},
	} {
		_, err := Parse([]byte(c.text), FileName)
		if err == nil {
			t.Errorf("%q was taken", c.text)
			continue
		}
		first, _, _ := strings.Cut(err.Error(), "\n")
		if !strings.HasPrefix(first, FileName+":"+c.want) {
			t.Errorf("%q:\n got %s\nwant %s:%s", c.text, first, FileName, c.want)
		}
	}
}

func TestAllMistakesAreToldInOrder(t *testing.T) {
	_, err := Parse([]byte("[domain.a]\npackage = \"./a\"\ncap = \"x\"\nrestart = \"y\"\n[domain.b]\nmemory = \"z\"\n"), FileName)
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines: %v", len(lines), err)
	}
	for i, want := range []string{":3: ", ":4: ", ":5: ", ":6: "} {
		if !strings.HasPrefix(lines[i], FileName+want) {
			t.Errorf("line %d is %q, want %s", i, lines[i], want)
		}
	}
}

func TestLoadLooksForFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(FileName, "[domain.a]\npackage = \"./a\"\nfiles = { \"/x\" = \"conf\", \"/y\" = \"a\" }\n")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "the folder ./a is not there") || !strings.Contains(err.Error(), "the file conf is not there") {
		t.Errorf("nothing is there, and: %v", err)
	}
	write("a/main.go", "package main")
	write("conf", "x")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "a is no file") {
		t.Errorf("a folder in place of a file: %v", err)
	}
	write(FileName, "[domain.a]\npackage = \"./a\"\nfiles = { \"/x\" = \"conf\" }\n")
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

var oneMistake = regexp.MustCompile(`^sluice\.toml:[1-9][0-9]*: .`)

func FuzzParse(f *testing.F) {
	f.Add([]byte(goodText))
	f.Add([]byte("[domain.a]\nfiles = {a={b=1}}"))
	f.Add([]byte("domain.a.package = \"./a\"\ndomain.a.weight = 5\n"))
	f.Add([]byte("[domain.\"a\\nb\"]\n[[domain]]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(text, FileName)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !oneMistake.MatchString(line) {
					t.Errorf("%q is no line of a mistake", line)
				}
			}
		} else {
			for _, d := range m.Domains {
				if err := d.Check(); err != nil {
					t.Errorf("a manifest was taken and its domain is refused: %v", err)
				}
			}
		}
	})
}
