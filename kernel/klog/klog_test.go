package klog

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
)

func newTest(at time.Duration) (*Log, *slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	l := New(&out, func() time.Duration { return at })
	return l, slog.New(l.Handler()), &out
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name string
		at   time.Duration
		log  func(*slog.Logger)
		want string
	}{
		{"message and attributes", 123456 * time.Microsecond,
			func(l *slog.Logger) { l.Info("link up", "name", "eth0", "mtu", 1500) },
			"[    0.123456] INFO  link up name=eth0 mtu=1500\n"},
		{"values are quoted when they are not one word", 12 * time.Second,
			func(l *slog.Logger) { l.Warn("odd", "empty", "", "space", "a b", "equals", "a=b") },
			"[   12.000000] WARN  odd empty=\"\" space=\"a b\" equals=\"a=b\"\n"},
		{"control characters cannot make a second line or drive a terminal", 0,
			func(l *slog.Logger) { l.Error("a\nb\x1b[2J\xff", "k\n", "v\r\n") },
			"[    0.000000] ERROR a\\nb\\x1b[2J\\xff k\\n=\"v\\r\\n\"\n"},
		{"groups become prefixes", 0,
			func(l *slog.Logger) {
				l.With("a", 1).WithGroup("g").Info("m", "b", 2, slog.Group("h", "c", 3))
			},
			"[    0.000000] INFO  m a=1 g.b=2 g.h.c=3\n"},
		{"a long uptime keeps its digits", 1234567 * time.Second,
			func(l *slog.Logger) { l.Info("m") },
			"[1234567.000000] INFO  m\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, log, out := newTest(c.at)
			c.log(log)
			if out.String() != c.want {
				t.Errorf("got  %q\nwant %q", out.String(), c.want)
			}
			if kept := string(l.Ring.bytes()); kept != c.want {
				t.Errorf("ring has %q", kept)
			}
		})
	}
}

func TestLevelIsChangedAtRunTime(t *testing.T) {
	l, log, out := newTest(0)
	log.Debug("hidden")
	l.SetLevel(slog.LevelDebug)
	log.Debug("shown")
	l.SetLevel(slog.LevelWarn)
	log.Info("hidden")
	if got := out.String(); got != "[    0.000000] DEBUG shown\n" {
		t.Errorf("got %q", got)
	}
}

func TestLineIsBounded(t *testing.T) {
	_, log, out := newTest(0)
	log.Info(strings.Repeat("é", 10000), "k", strings.Repeat("x", 10000))
	if out.Len() > lineMax+8 || !strings.HasSuffix(out.String(), "...\n") {
		t.Errorf("a line of %d bytes", out.Len())
	}
}

// talkative is a value whose text is made by a method that logs.
type talkative struct{ log *slog.Logger }

func (v talkative) String() string {
	v.log.Info("inner")
	return "text"
}

func TestValueThatLogs(t *testing.T) {
	_, log, out := newTest(0)
	log.Info("outer", "value", talkative{log})
	if got, want := out.String(), "[    0.000000] INFO  inner\n[    0.000000] INFO  outer value=text\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("message", "key", "value")
	f.Add("a\nb", "k\x1b", "v\u2028 \xff")
	f.Fuzz(func(t *testing.T, message, key, value string) {
		l, log, out := newTest(time.Second)
		log.With(key, value).Info(message, key, value, slog.Group(key, value, message))
		line := out.String()
		if len(line) > lineMax+8 || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Errorf("%d bytes, %d lines", len(line), strings.Count(line, "\n"))
		}
		for _, r := range line[:len(line)-1] {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q is not printable in %q", r, line)
			}
		}
		if string(l.Dmesg()) != line {
			t.Error("the ring has another line")
		}
	})
}

func TestRingKeepsWholeLines(t *testing.T) {
	l, log, out := newTest(0)
	for i := range 5000 {
		log.Info("line", "n", i)
	}
	kept := l.Ring.bytes()
	if len(kept) > RingSize || len(kept) < RingSize-lineMax {
		t.Fatalf("kept %d bytes of %d", len(kept), RingSize)
	}
	if !bytes.HasPrefix(kept, []byte("[")) || !bytes.HasSuffix(out.Bytes(), kept) {
		t.Error("the ring does not hold the last whole lines")
	}
	var last bytes.Buffer
	l.Ring.Last(3, func(p []byte) { last.Write(p) })
	if want := "[    0.000000] INFO  line n=4997\n[    0.000000] INFO  line n=4998\n[    0.000000] INFO  line n=4999\n"; last.String() != want {
		t.Errorf("last three lines: %q", last.String())
	}
	if n := testing.AllocsPerRun(10, func() { l.Ring.Last(20, func([]byte) {}) }); n != 0 {
		t.Errorf("Last allocates %v times", n)
	}
}

func TestConcurrentLinesStayWhole(t *testing.T) {
	l, log, out := newTest(0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				log.Info("message", "key", "value")
			}
		})
	}
	for range 50 {
		if kept := l.Dmesg(); len(kept) > 0 && kept[len(kept)-1] != '\n' {
			t.Error("dmesg ends in the middle of a line")
		}
	}
	wg.Wait()
	for line := range strings.Lines(out.String()) {
		if line != "[    0.000000] INFO  message key=value\n" {
			t.Fatalf("torn line %q", line)
		}
	}
}

func TestFewAllocations(t *testing.T) {
	l := New(discard{}, func() time.Duration { return 0 })
	log := slog.New(l.Handler())
	if n := testing.AllocsPerRun(100, func() { log.Info("message", "key", "value") }); n > 1 {
		t.Errorf("%v allocations a line, want at most 1", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
