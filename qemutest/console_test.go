package qemutest

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func newConsole() *console {
	c := &console{}
	c.init()
	return c
}

// find returns a match function for seek.
func find(s string) func([]byte) int {
	return func(text []byte) int {
		if i := bytes.Index(text, []byte(s)); i >= 0 {
			return i + len(s)
		}
		return -1
	}
}

func TestConsoleSeekGoesForward(t *testing.T) {
	c := newConsole()
	c.Write([]byte("one\r\ntwo\r\none\r\n"))
	for i, mark := range []string{"one\n", "two\n", "one\n"} {
		if !c.seek(t.Context(), find(mark)) {
			t.Errorf("mark %d, %q, was not found", i, mark)
		}
	}
	c.close()
	if c.seek(t.Context(), find("one")) {
		t.Error("a mark was found twice")
	}
}

func TestConsoleSeekWaits(t *testing.T) {
	c := newConsole()
	found := make(chan bool)
	go func() { found <- c.seek(context.Background(), find("split mark")) }()
	for _, part := range []string{"", "spl", "it m", "ark", " and more"} {
		c.Write([]byte(part))
	}
	if !<-found {
		t.Error("a mark that came in pieces was not found")
	}
}

func TestConsoleSeekSeesTheLastOutput(t *testing.T) {
	// QEMU's end cancels the context and closes the console: what was printed
	// before still counts.
	c := newConsole()
	ctx, cancel := context.WithCancel(context.Background())
	c.Write([]byte("last words"))
	c.close()
	cancel()
	if !c.seek(ctx, find("last words")) {
		t.Error("output before the end was not found")
	}
	if c.seek(ctx, find("never said")) {
		t.Error("what was never printed was found")
	}
}

func TestConsoleTail(t *testing.T) {
	c := newConsole()
	c.Write([]byte("a\nb\nc\nd\n"))
	for lines, want := range map[int]string{1: "d", 2: "c\nd", 4: "a\nb\nc\nd", 9: "a\nb\nc\nd"} {
		if got := c.tail(lines); got != want {
			t.Errorf("tail(%d) = %q, want %q", lines, got, want)
		}
	}
}

func TestConsoleIsBounded(t *testing.T) {
	c := newConsole()
	chunk := []byte(strings.Repeat("x", 1<<20))
	for range logMax>>20 + 2 {
		c.Write(chunk)
	}
	if n := len(c.string()); n != logMax {
		t.Errorf("%d bytes are kept, want %d", n, logMax)
	}
}

// TestEcho: what a line looks like as it is typed is found behind an older prompt, and where other
// lines stand within it.
func TestEcho(t *testing.T) {
	for _, c := range []struct{ line, shown, behind string }{
		{"help", "help\nok\n", "\nok\n"},
		{"help", "a: line\nsluice> help\nok\n", "\nok\n"},
		{"help", "he: line\nsluice> hea: line\nanother\nl1 up\np\nhelp\n", "\nhelp\n"},
		{"a b\nc", "a b\nsluice> c\n", "\nsluice> c\n"},
		{"ip a (x)", "ip a (x)\n", "\n"},
		{"help", "hel", ""},
		{"help", "help", ""},
		{"help", "a: line\nsluice> ", ""},
	} {
		behind := ""
		if at := echoOf(c.line).FindStringIndex(c.shown); at != nil {
			behind = c.shown[at[1]-1:]
		}
		if behind != c.behind {
			t.Errorf("%q in %q: behind it is %q, want %q", c.line, c.shown, behind, c.behind)
		}
	}
	for _, line := range []string{"", "\n", "a\tb", "ü", "\x03", strings.Repeat("x", lineMax+1)} {
		if echoOf(line) != nil {
			t.Errorf("%q is taken to be shown as it is typed", line)
		}
	}
}
