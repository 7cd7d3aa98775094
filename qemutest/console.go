package qemutest

// The serial console: what the machine prints is searched for marks, and keys
// can be typed.

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// Prompt is what the kernel's shell shows when it waits for a line.
	Prompt = "sluice> "
	// tailLines is how much of the console a failed test's log shows.
	tailLines = 40
	// logMax bounds what is kept of a console, in bytes.
	logMax = 16 << 20
)

// console is everything that QEMU printed, without carriage returns. It is
// written by two goroutines of os/exec.
type console struct {
	mu    sync.Mutex
	text  []byte
	at    int           // what lies before has been matched
	grew  chan struct{} // closed and replaced when text grows
	ended bool
}

func (c *console) init() { c.grew = make(chan struct{}) }

// Write implements io.Writer. It never fails.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if b != '\r' && len(c.text) < logMax {
			c.text = append(c.text, b)
		}
	}
	c.wake()
	return len(p), nil
}

// Close implements io.Closer for vmtest, which calls it before the last
// output is known to be written: close tells the end.
func (c *console) Close() error { return nil }

func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.wake()
}

func (c *console) wake() {
	close(c.grew)
	c.grew = make(chan struct{})
}

// seek waits until match finds something in the text behind the last match
// and moves there. match returns the end of what it found, or -1. It reports
// false when ctx or the console ended first.
func (c *console) seek(ctx context.Context, match func(text []byte) int) bool {
	for {
		c.mu.Lock()
		end, ended, grew := match(c.text[c.at:]), c.ended, c.grew
		if end >= 0 {
			c.at += end
		}
		c.mu.Unlock()
		switch {
		case end >= 0:
			return true
		case ended:
			return false
		}
		select {
		case <-grew:
		case <-ctx.Done():
			// QEMU's end cancels ctx too, after its last output: look again.
			c.mu.Lock()
			ended = c.ended
			c.mu.Unlock()
			if !ended {
				return false
			}
		}
	}
}

// mark returns the place behind all text there is.
func (c *console) mark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = len(c.text)
}

func (c *console) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text[:len(c.text):len(c.text)]
}

func (c *console) string() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// tail returns the last lines.
func (c *console) tail(lines int) string {
	text := strings.TrimRight(c.string(), "\n")
	at := len(text)
	for ; lines > 0 && at >= 0; lines-- {
		at = strings.LastIndexByte(text[:at], '\n')
	}
	return text[at+1:]
}

// Output returns all that the console has shown, without carriage returns.
func (v *VM) Output() string { return v.log.string() }

// Expect waits until the console shows mark and returns the text up to its
// end, from the end of the last Expect on. The test fails when the machine
// ends or its deadline comes first.
func (v *VM) Expect(t testing.TB, mark string) string {
	t.Helper()
	var found string
	if !v.log.seek(v.ctx, func(text []byte) int {
		i := bytes.Index(text, []byte(mark))
		if i < 0 {
			return -1
		}
		found = string(text[:i+len(mark)])
		return len(found)
	}) {
		t.Fatalf("qemutest: the console did not show %q before %s", mark, v.why())
	}
	return found
}

// ExpectRegexp is Expect for a regular expression, which is matched against
// whole lines only. It returns the match and its submatches.
func (v *VM) ExpectRegexp(t testing.TB, expr string) []string {
	t.Helper()
	re := regexp.MustCompile(expr)
	var found []string
	if !v.log.seek(v.ctx, func(text []byte) int {
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		at := re.FindSubmatchIndex(text)
		if at == nil {
			return -1
		}
		for _, b := range re.FindSubmatch(text) {
			found = append(found, string(b))
		}
		return at[1]
	}) {
		t.Fatalf("qemutest: no line on the console matched %q before %s", expr, v.why())
	}
	return found
}

// why names what ended a wait.
func (v *VM) why() string {
	select {
	case <-v.exited:
		return "QEMU ended" + v.reason()
	default:
		return "the deadline"
	}
}

// Type sends keys to the console; "\n" ends a line. Any byte may be sent, so
// "\x03" is ^C.
func (v *VM) Type(t testing.TB, keys string) {
	t.Helper()
	var err error
	v.raw.Do(func() { err = passSignalKeys(int(v.machine.Console.Tty().Fd())) })
	if err == nil {
		_, err = v.machine.Console.Send(keys)
	}
	if err != nil {
		t.Fatalf("qemutest: typing %q: %v", keys, err)
	}
}

// passSignalKeys makes ^C and its like reach QEMU, which puts its terminal
// into raw mode except for them.
func passSignalKeys(tty int) error {
	mode, err := unix.IoctlGetTermios(tty, unix.TCGETS)
	if err != nil {
		return err
	}
	mode.Lflag &^= unix.ISIG
	return unix.IoctlSetTermios(tty, unix.TCSETS, mode)
}

// Command runs one command in the kernel's shell and returns what it printed.
// It waits for the shell's first prompt, and takes it that no other command is
// running: a prompt that is still to come is not taken for the one behind it.
func (v *VM) Command(t testing.TB, line string) string {
	t.Helper()
	v.Seen(t, Prompt)
	v.log.mark()
	v.Type(t, line+"\n")
	if echo := echoOf(line); echo != nil && !v.log.seek(v.ctx, func(text []byte) int {
		if at := echo.FindIndex(text); at != nil {
			return at[1] - 1 // the prompt may follow its line feed
		}
		return -1
	}) {
		t.Fatalf("qemutest: the console did not show %q as typed before %s", line, v.why())
	}
	text := v.Expect(t, "\n"+Prompt)
	_, text, _ = strings.Cut(text, "\n") // the echo
	return strings.TrimSuffix(strings.TrimSuffix(text, Prompt), "\n")
}

// lineMax is how much of a line the shell takes and shows, in bytes.
const lineMax = 256

// echoOf matches what the shell shows of a line as it is typed, or of the first of several. Keys
// are shown one by one, and lines of others may stand between them. It is nil for a line that is
// not shown as it is typed.
func echoOf(line string) *regexp.Regexp {
	line, _, _ = strings.Cut(line, "\n")
	if line == "" || len(line) > lineMax {
		return nil
	}
	var expr strings.Builder
	for _, c := range []byte(line) {
		if c < ' ' || c > '~' {
			return nil
		}
		expr.WriteString(regexp.QuoteMeta(string(rune(c))) + `(?:(?s:.*?)\n)??`)
	}
	return regexp.MustCompile(expr.String() + `\n`)
}

// Seen waits until the console has shown mark at any time since the start. It
// does not change where Expect goes on. The test fails as with Expect.
func (v *VM) Seen(t testing.TB, mark string) {
	t.Helper()
	if !v.log.seek(v.ctx, func([]byte) int {
		if bytes.Contains(v.log.text, []byte(mark)) {
			return 0
		}
		return -1
	}) {
		t.Fatalf("qemutest: the console did not show %q before %s", mark, v.why())
	}
}

// Times waits until lines of the console that begin at an offset of Output have
// matched a regular expression n times, and returns the last match and its
// submatches. It does not change where Expect goes on. The test fails as with
// Expect.
func (v *VM) Times(t testing.TB, from int, expr string, n int) []string {
	t.Helper()
	re := regexp.MustCompile(expr)
	var found []string
	if !v.log.seek(v.ctx, func([]byte) int {
		text := v.log.text[min(from, len(v.log.text)):]
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		all := re.FindAllSubmatch(text, n)
		if len(all) < n {
			return -1
		}
		for _, b := range all[n-1] {
			found = append(found, string(b))
		}
		return 0
	}) {
		t.Fatalf("qemutest: the console did not match %q %d times before %s", expr, n, v.why())
	}
	return found
}
