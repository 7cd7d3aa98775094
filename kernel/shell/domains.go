package shell

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Domains is what the shell does with the machine's domains.
type Domains interface {
	List() []Domain
	// Start, Stop, Kill and Restart return when it is done.
	Start(name string) error
	Stop(name string) error
	Kill(name string) error
	Restart(name string) error
	// Suspend keeps a domain from running, and takes the memory of its channels of
	// the network back. Resume lets it go on where it was.
	Suspend(name string) error
	Resume(name string) error
	// Defunct takes the memory of one of a domain's channels back, by the domain's
	// number for it; -1: of all that it has to the network.
	Defunct(name string, number int) error
	// Send gives a domain input as if it had been typed.
	Send(name string, text []byte) error
	// Interrupt is ^C for a domain, EndInput is ^D.
	Interrupt(name string) error
	EndInput(name string) error
	// Attach sends what the domain writes to out instead of the console's
	// lines, until detach is called. done is closed when the domain has
	// stopped.
	Attach(name string, out func([]byte)) (done <-chan struct{}, detach func(), err error)
}

// Domain is one line of the command domains.
type Domain struct {
	Name     string
	State    string
	Share    float64       // of one processor, since it was first started
	Time     time.Duration // in ring 3, all starts
	Memory   uint64        // bytes
	Peak     uint64
	Quota    uint64
	Restarts int
	Last     string
}

// domains lists the domains.
func (s *Shell) domains(_ context.Context, args []string) error {
	asJSON := len(args) == 1 && args[0] == "-j"
	if len(args) > 0 && !asJSON {
		return errUsage
	}
	if s.sys.Domains == nil {
		return errAbsent
	}
	list := s.sys.Domains.List()
	if asJSON {
		s.listJSON(list)
		return nil
	}
	s.table(list)
	return nil
}

// listJSON prints domains for programs: times in nanoseconds, memory in bytes. No other line comes
// between.
// Package encoding/json would make the kernel a fiftieth larger.
func (s *Shell) listJSON(list []Domain) {
	b := []byte("[")
	for i, d := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"name":%s,"state":%s,"cpu_share":%.4f,"cpu_ns":%d,"memory":%d,"peak":%d,"quota":%d,"restarts":%d,"last_exit":%s}`,
			jsonString(d.Name), jsonString(d.State), d.Share, d.Time, d.Memory, d.Peak, d.Quota, d.Restarts, jsonString(d.Last))
	}
	fmt.Fprintf(s.out, "%s]\n", b)
}

// jsonString quotes s (RFC 8259, 7). Control characters become blanks.
func jsonString(s string) string {
	b := []byte{'"'}
	for _, c := range []byte(strings.ToValidUTF8(s, "?")) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

func (s *Shell) table(list []Domain) {
	fmt.Fprintf(s.out, "%-16s %-9s %6s %9s %8s %8s %8s %8s  %s\n", "NAME", "STATE", "CPU%", "TIME", "MEM", "PEAK", "QUOTA", "RESTARTS", "LAST EXIT")
	for _, d := range list {
		fmt.Fprintf(s.out, "%-16s %-9s %6.1f %9s %7dK %7dK %7dK %8d  %s\n", d.Name, d.State, 100*d.Share,
			d.Time.Truncate(time.Millisecond), d.Memory>>10, d.Peak>>10, d.Quota>>10, d.Restarts, d.Last)
	}
}

// topEvery is how often top looks.
const topEvery = 2 * time.Second

// top shows the share of the last two seconds, until ^C or for a number of
// times.
func (s *Shell) top(ctx context.Context, args []string) error {
	times := 0
	if len(args) == 2 && args[0] == "-n" {
		if _, err := fmt.Sscanf(args[1], "%d", &times); err != nil || times < 1 {
			return fmt.Errorf("bad number of times %q: want 1 or more", args[1])
		}
	} else if len(args) > 0 {
		return errUsage
	}
	if s.sys.Domains == nil {
		return errAbsent
	}
	before := map[string]time.Duration{}
	for _, d := range s.sys.Domains.List() {
		before[d.Name] = d.Time
	}
	tick := time.NewTicker(topEvery)
	defer tick.Stop()
	last := s.sys.Uptime()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := s.sys.Uptime()
		list := s.sys.Domains.List()
		for i := range list {
			d := &list[i]
			d.Share = float64(d.Time-before[d.Name]) / float64(now-last)
			before[d.Name] = d.Time
		}
		last = now
		s.table(list)
		if n == times {
			return nil
		}
	}
}

// domain changes one domain.
func (s *Shell) domain(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	if s.sys.Domains == nil {
		return errAbsent
	}
	verb, name, rest := args[0], args[1], args[2:]
	if verb == "send" {
		line := ""
		for i, word := range rest {
			if i > 0 {
				line += " "
			}
			line += word
		}
		return s.sys.Domains.Send(name, []byte(line+"\n"))
	}
	if len(rest) > 0 {
		return errUsage
	}
	switch verb {
	case "start":
		return s.sys.Domains.Start(name)
	case "stop":
		return s.sys.Domains.Stop(name)
	case "kill":
		return s.sys.Domains.Kill(name)
	case "restart":
		return s.sys.Domains.Restart(name)
	case "suspend":
		return s.sys.Domains.Suspend(name)
	case "resume":
		return s.sys.Domains.Resume(name)
	case "attach":
		return s.attach(ctx, name)
	}
	return errUsage
}

// channel changes channels of a domain.
func (s *Shell) channel(_ context.Context, args []string) error {
	if len(args) < 2 || len(args) > 3 || args[0] != "defunct" {
		return errUsage
	}
	if s.sys.Domains == nil {
		return errAbsent
	}
	number := -1
	if len(args) == 3 {
		n, err := strconv.ParseUint(args[2], 10, 31)
		if err != nil {
			return fmt.Errorf("bad number %q: want the domain's number of a channel, 0 or more", args[2])
		}
		number = int(n)
	}
	return s.sys.Domains.Defunct(args[1], number)
}

const (
	keyDetach = 0x1d // ^]
	keyEnd    = 0x04 // ^D
)

// attach connects the console to a domain until ^] or its end.
func (s *Shell) attach(ctx context.Context, name string) error {
	done, detach, err := s.sys.Domains.Attach(name, func(p []byte) { _, _ = s.out.Write(p) })
	if err != nil {
		return err
	}
	defer detach()
	left := make(chan struct{})
	t := &typist{echo: s.out, domains: s.sys.Domains, name: name, leave: func() { close(left) }}
	s.setForeground(t.keys)
	// Keys are the domain's from this line on, and the shell's again before the next tells so:
	// who reads that may type at once.
	fmt.Fprintf(s.out, "attached to %s; ^] detaches\n", name)
	select {
	case <-done:
	case <-left:
	case <-ctx.Done():
	}
	how := ""
	select { // ^] may be followed by ^C at once
	case <-left:
		how = "\ndetached from " + name + "\n"
	default:
		if ctx.Err() == nil {
			how = "\n" + name + " has ended\n"
		}
	}
	s.setForeground(nil)
	_, _ = io.WriteString(s.out, how)
	return nil
}

// Type gives everything that is typed at a console to a domain, in lines and
// with an echo, until the console fails. There is no way to detach.
func Type(in io.Reader, echo io.Writer, domains Domains, name string) {
	t := &typist{echo: echo, domains: domains, name: name, leave: func() {}}
	for buf := make([]byte, 64); ; {
		n, err := in.Read(buf)
		for keys := buf[:n]; len(keys) > 0; t.left = false {
			keys = t.keys(keys)
		}
		if err != nil {
			return
		}
	}
}

// typist makes lines of the keys typed for a domain, as a terminal does.
type typist struct {
	echo    io.Writer
	domains Domains
	name    string
	leave   func()
	left    bool
	line    []byte
}

// keys takes what was typed, and returns what stands behind the key that detaches.
func (t *typist) keys(keys []byte) (rest []byte) {
	for i, b := range keys {
		switch {
		case t.left:
			return keys[i:]
		case b == keyDetach:
			t.left = true
			t.leave()
		case b == keyInterrupt:
			t.show("^C\n")
			t.line = t.line[:0]
			_ = t.domains.Interrupt(t.name)
		case b == keyEnd && len(t.line) == 0:
			_ = t.domains.EndInput(t.name)
		case b == '\r' || b == '\n':
			t.show("\n")
			if err := t.domains.Send(t.name, append(t.line, '\n')); err != nil {
				t.show(err.Error() + "\n")
			}
			t.line = t.line[:0]
		case b == keyBackspace || b == keyDelete:
			if n := len(t.line); n > 0 {
				t.line = t.line[:n-1]
				t.show("\b \b")
			}
		case b >= ' ' && len(t.line) < lineMax:
			t.line = append(t.line, b)
			t.show(string(rune(b)))
		}
	}
	return nil
}

func (t *typist) show(text string) { _, _ = io.WriteString(t.echo, text) }
