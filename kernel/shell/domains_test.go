package shell

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/steer"
	"github.com/sluice-os/sluice/nexus/view"
)

// fakeDomains is two domains; what is done to them is noted.
type fakeDomains struct {
	mu  sync.Mutex
	did []string
	// attached takes what attach would show, done ends the domain.
	attached func([]byte)
	done     chan struct{}
	ready    chan struct{}
}

func (f *fakeDomains) List() []Domain {
	return []Domain{
		{Name: "web", State: "running", Share: 0.125, Time: 1500 * time.Millisecond, Memory: 3 << 20, Peak: 4 << 20, Quota: 16 << 20, Last: "-"},
		{Name: "job", State: "stopped", Peak: 2 << 20, Quota: 8 << 20, Restarts: 3, Last: "bad memory access: write at 0x10: no memory of the domain's"},
	}
}

func (f *fakeDomains) note(what string) {
	f.mu.Lock()
	f.did = append(f.did, what)
	f.mu.Unlock()
}

func (f *fakeDomains) do(verb, name string) error {
	if name != "web" {
		return errors.New("no domain \"" + name + "\": the command domains lists them")
	}
	f.note(verb)
	return nil
}

func (f *fakeDomains) Start(name string) error   { return f.do("start", name) }
func (f *fakeDomains) Stop(name string) error    { return f.do("stop", name) }
func (f *fakeDomains) Kill(name string) error    { return f.do("kill", name) }
func (f *fakeDomains) Restart(name string) error { return f.do("restart", name) }
func (f *fakeDomains) Suspend(name string) error { return f.do("suspend", name) }
func (f *fakeDomains) Resume(name string) error  { return f.do("resume", name) }
func (f *fakeDomains) Defunct(name string, number int) error {
	return f.do(fmt.Sprintf("defunct %d", number), name)
}
func (f *fakeDomains) Interrupt(name string) error { return f.do("interrupt", name) }
func (f *fakeDomains) EndInput(name string) error  { return f.do("end", name) }
func (f *fakeDomains) Send(name string, text []byte) error {
	return f.do("send "+string(text), name)
}

func (f *fakeDomains) Attach(name string, out func([]byte)) (<-chan struct{}, func(), error) {
	if err := f.do("attach", name); err != nil {
		return nil, nil, err
	}
	f.attached = out
	close(f.ready)
	return f.done, func() { f.note("detach") }, nil
}

func TestDomainCommands(t *testing.T) {
	for line, want := range map[string]string{
		"domain start web":       "start",
		"domain stop web":        "stop",
		"domain kill web":        "kill",
		"domain restart web":     "restart",
		"domain suspend web":     "suspend",
		"domain resume web":      "resume",
		"domain send web a  b":   "send a b\n",
		"domain stop":            "",
		"domain start web twice": "",
		"domain frob web":        "",
	} {
		f := &fakeDomains{}
		var out bytes.Buffer
		New(nil, &out, System{Domains: f}).Execute(t.Context(), line)
		if got := strings.Join(f.did, ","); got != want {
			t.Errorf("%s did %q, want %q", line, got, want)
		}
		if usage := strings.Contains(out.String(), "want: domain start"); usage != (want == "") {
			t.Errorf("%s printed %q", line, out.String())
		}
	}
}

func TestChannelCommands(t *testing.T) {
	const usage = "want: channel defunct DOMAIN [CHANNEL]"
	for line, want := range map[string]struct{ did, printed string }{
		"channel defunct web":            {"defunct -1", ""},
		"channel defunct web 0":          {"defunct 0", ""},
		"channel defunct web 7":          {"defunct 7", ""},
		"channel defunct job":            {"", "no domain"},
		"channel defunct web -1":         {"", `bad number "-1": want`},
		"channel defunct web x":          {"", `bad number "x": want`},
		"channel defunct web 4294967296": {"", "bad number"},
		"channel defunct":                {"", usage},
		"channel defunct web 1 2":        {"", usage},
		"channel close web":              {"", usage},
		"channel":                        {"", usage},
	} {
		f := &fakeDomains{}
		var out bytes.Buffer
		New(nil, &out, System{Domains: f}).Execute(t.Context(), line)
		if got := strings.Join(f.did, ","); got != want.did || !strings.Contains(out.String(), want.printed) || want.printed == "" && out.Len() > 0 {
			t.Errorf("%s did %q and printed %q, want %q and %q", line, got, out.String(), want.did, want.printed)
		}
	}
}

// attached runs the shell with a console that has attached to web.
func attached(t *testing.T) (f *fakeDomains, console io.Writer, end func() string) {
	f = &fakeDomains{done: make(chan struct{}), ready: make(chan struct{})}
	keys, w := io.Pipe()
	var out bytes.Buffer
	done := make(chan error)
	s := New(keys, &out, System{Domains: f, Uptime: func() time.Duration { return 0 }})
	go func() { done <- s.Run(t.Context()) }()
	io.WriteString(w, "domain attach web\r")
	<-f.ready
	for s.keysTaken() { // the command has yet to take the keys
	}
	return f, w, func() string {
		w.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return out.String()
	}
}

// keysTaken says that the shell takes the keys itself.
func (s *Shell) keysTaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.foreground == nil
}

func TestAttachGivesTheKeysToTheDomain(t *testing.T) {
	f, console, end := attached(t)
	f.attached([]byte("answer\n"))
	io.WriteString(console, "helx\blo\r")
	io.WriteString(console, "\x03\x04")
	io.WriteString(console, "\x1dupt")
	io.WriteString(console, "ime\r")
	out := end()
	if got := strings.Join(f.did, ","); got != "attach,send hello\n,interrupt,end,detach" {
		t.Errorf("did %q", got)
	}
	for _, want := range []string{"attached to web; ^] detaches\r\n", "answer\r\n", "detached from web", Prompt + "uptime\r\nup 00:00:00", "helx\b \blo\r\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}

func TestAttachEndsWithTheDomain(t *testing.T) {
	f := &fakeDomains{done: make(chan struct{}), ready: make(chan struct{})}
	close(f.done)
	s := New(nil, nil, System{Domains: f})
	ended := false
	s.out = writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "web has ended") {
			// Somebody reads this and types the next command at once.
			ended = true
			if !s.keysTaken() {
				t.Error("the keys are still the domain's when its end is told")
			}
		}
		return len(p), nil
	})
	s.Execute(t.Context(), "domain attach web")
	if !ended {
		t.Error("nothing tells that the domain has ended")
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestJSONIsJSON(t *testing.T) {
	for _, text := range []string{"", "plain", `with "quotes" and \`, "control\x01\n", "\xff", "ü"} {
		var got string
		if err := json.Unmarshal([]byte(jsonString(text)), &got); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, line := range []string{"domains -j", "mem -j"} {
		var out bytes.Buffer
		New(nil, &out, fakeSystem()).Execute(t.Context(), line)
		if !json.Valid(out.Bytes()) {
			t.Errorf("%s: %s", line, out.Bytes())
		}
	}
	var out bytes.Buffer
	New(nil, &out, System{}).listJSON(nil)
	if !json.Valid(out.Bytes()) {
		t.Errorf("no domains: %s", out.Bytes())
	}
}

// TestLinesStayTogether: others write to the console too, between two writes of a command: what it
// writes at a time ends where a line does, and JSON comes in one piece.
func TestLinesStayTogether(t *testing.T) {
	for _, line := range []string{"ip addr", "ip link", "ip maddr", "ip route", "ip neigh", "netstat -s", "counters", "domains", "domains -j", "mem", "mem -a", "mem -j", "uptime", "uptime -j", "pci", "help"} {
		sys, writes := fakeSystem(), 0
		sys.Domains = &fakeDomains{}
		s := New(nil, nil, sys)
		s.out = writerFunc(func(p []byte) (int, error) {
			if writes++; !bytes.HasSuffix(p, []byte("\n")) {
				t.Errorf("%s wrote %q at a time", line, p)
			}
			return len(p), nil
		})
		s.Execute(t.Context(), line)
		if writes == 0 || strings.HasSuffix(line, "-j") && writes > 1 {
			t.Errorf("%s wrote %d times", line, writes)
		}
	}
}

func TestQdiscCommands(t *testing.T) {
	for line, want := range map[string]struct{ did, printed string }{
		"qdisc":                 {"", "CLASS"},
		"qdisc -j":              {"", "[]"},
		"qdisc fifo":            {"queue fifo", ""},
		"qdisc rate web 10mbit": {"web 10000000", ""},
		"qdisc rate web off":    {"web 0", ""},
		"qdisc rate web 10":     {"", `the rate "10": want`},
		"qdisc rate web":        {"", "want: qdisc"},
		"qdisc fifo now":        {"", "want: qdisc"},
		"qdisc mark on":         {"marks true", ""},
		"qdisc mark off":        {"marks false", ""},
		"qdisc mark":            {"queue mark", ""},
		"qdisc mark maybe":      {"", "want: qdisc"},
		"qdisc red":             {"queue red", "no such queue"},
	} {
		var did string
		var out bytes.Buffer
		New(nil, &out, System{
			Tables: map[string]func() *view.Table{"qdisc": func() *view.Table { return view.New("CLASS") }},
			SetQdisc: func(name string) error {
				if did = "queue " + name; name == "red" {
					return errors.New("no such queue")
				}
				return nil
			},
			SetMarks: func(on bool) { did = fmt.Sprint("marks ", on) },
			SetRate:  func(domain string, rate aqm.Rate) error { did = fmt.Sprint(domain, " ", uint64(rate)); return nil },
		}).Execute(t.Context(), line)
		if did != want.did || !strings.Contains(out.String(), want.printed) || want.printed == "" && out.Len() > 0 {
			t.Errorf("%s did %q and printed %q, want %q and %q", line, did, out.String(), want.did, want.printed)
		}
	}
	for _, line := range []string{"qdisc", "qdisc fifo", "qdisc rate web off", "qdisc mark on"} {
		var out bytes.Buffer
		New(nil, &out, System{}).Execute(t.Context(), line)
		if out.Len() == 0 {
			t.Errorf("%s without a network says nothing", line)
		}
	}
}

func TestRuleCommands(t *testing.T) {
	all := map[string]*steer.Rules{"eth0": {}, "lan": {}}
	sys := System{Rules: func(card string, f func(string, *steer.Rules) error) error {
		for _, name := range []string{"eth0", "lan"} {
			if card == "" || card == name {
				if err := f(name, all[name]); err != nil {
					return err
				}
			}
		}
		return nil
	}}
	for _, step := range []struct{ line, want string }{
		{"rules", "DEV"},
		{"rules add dport 22 class management", ""},
		{"rules add dev lan to 10.0.0.0/8 ipproto udp class voice", ""},
		{"rules add dev lan to 10.0.0.0/8 ipproto udp class video", "delete it first"},
		{"rules", "lan   to 10.0.0.0/8 ipproto udp class voice"},
		{"rules -j", `{"dev":"eth0","rule":"dport 22 class management"}`},
		{"rules del dport 22", ""},
		{"rules del dport 22", "no rule for these flows"},
		{"rules add class voice", "an address or a port"},
		{"rules flush", "want: rules"},
	} {
		var out bytes.Buffer
		New(nil, &out, sys).Execute(t.Context(), step.line)
		if !strings.Contains(out.String(), step.want) || step.want == "" && out.Len() > 0 {
			t.Errorf("%s printed %q, want %q", step.line, out.String(), step.want)
		}
	}
	if len(all["eth0"].List()) != 0 || len(all["lan"].List()) != 1 {
		t.Errorf("left are %v and %v", all["eth0"].List(), all["lan"].List())
	}
}
