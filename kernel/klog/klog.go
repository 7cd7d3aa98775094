// Package klog is the kernel's log: a slog.Handler that writes one line a
// record, to the console and to a ring that `dmesg` prints.
//
//	[    0.123456] INFO  link up name=eth0
package klog

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// lineMax bounds one line in bytes; what is longer ends in "...".
const lineMax = 2048

// Log is where records go. The zero value is not usable; see New.
type Log struct {
	Ring  Ring
	level slog.LevelVar

	mu    sync.Mutex
	out   io.Writer
	since func() time.Duration
	lines sync.Pool // of *[]byte, for the line that is being made
}

// stampMax is the longest time stamp in bytes, with seconds of 13 digits.
const stampMax = 24

// New returns a log that writes lines to out, with times from since, which
// returns the time since boot.
func New(out io.Writer, since func() time.Duration) *Log {
	l := &Log{out: out, since: since}
	l.lines.New = func() any {
		b := make([]byte, 0, stampMax+2*lineMax)
		return &b
	}
	return l
}

// SetLevel sets the least level that is logged.
func (l *Log) SetLevel(level slog.Level) { l.level.Set(level) }

// Dmesg returns the lines that are kept, oldest first.
func (l *Log) Dmesg() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Ring.bytes()
}

// Handler returns a handler for slog.New.
func (l *Log) Handler() slog.Handler { return &handler{log: l} }

// handler is a Log with the attributes of WithAttrs and WithGroup: prefix is
// their text, group what goes before further keys.
type handler struct {
	log    *Log
	prefix string
	group  string
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.level.Level()
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	b := []byte(h.prefix)
	for _, a := range attrs {
		b = appendAttr(b, h.group, a)
	}
	return &handler{h.log, string(b), h.group}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{h.log, h.prefix, h.group + name + "."}
}

// Handle implements slog.Handler. The record's own time is not used: it is
// wall time, and the log tells the time since boot. The text is made before
// the lock is taken, because values may have methods that log.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	l := h.log
	pooled := l.lines.Get().(*[]byte)
	defer l.lines.Put(pooled)
	b := (*pooled)[:stampMax] // room for the time, which is told last
	level := r.Level.String()
	b = append(b, level...)
	for range 5 - len(level) {
		b = append(b, ' ')
	}
	b = append(b, ' ')
	b = appendText(b, cut(r.Message))
	b = append(b, h.prefix...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.group, a)
		return len(b) < lineMax
	})
	if len(b) > lineMax {
		b = append(cutAt(b, lineMax), "..."...)
	}
	b = append(b, '\n')
	return l.write(b)
}

// write puts the time into the first stampMax bytes of b, right-aligned, and
// writes the line.
func (l *Log) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var room [stampMax]byte
	stamp := appendTime(room[:0], l.since())
	line := b[max(stampMax-len(stamp), 0):]
	copy(line, stamp)
	l.Ring.write(line)
	_, err := l.out.Write(line)
	return err
}

// cut bounds a text that is longer than any line.
func cut(s string) string {
	if len(s) <= lineMax {
		return s
	}
	return string(cutAt([]byte(s[:lineMax+1]), lineMax))
}

// cutAt returns the first n bytes of b or, in the middle of a character, fewer.
func cutAt(b []byte, n int) []byte {
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:n]
}

// appendTime writes "[    0.123456] ".
func appendTime(b []byte, d time.Duration) []byte {
	us := max(d.Microseconds(), 0)
	b = append(b, '[')
	var digits [20]byte
	sec := strconv.AppendInt(digits[:0], us/1e6, 10)
	for range 5 - len(sec) {
		b = append(b, ' ')
	}
	b = append(b, sec...)
	b = append(b, '.')
	for div := int64(100000); div > 0; div /= 10 {
		b = append(b, byte('0'+us/div%10))
	}
	return append(b, "] "...)
}

func appendAttr(b []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range v.Group() {
			b = appendAttr(b, group, inner)
		}
		return b
	}
	if a.Key == "" {
		return b
	}
	b = append(b, ' ')
	b = appendText(b, group)
	b = appendText(b, a.Key)
	b = append(b, '=')
	if s := cut(v.String()); s == "" || needsQuotes(s) {
		b = strconv.AppendQuote(b, s)
	} else {
		b = append(b, s...)
	}
	return b
}

// needsQuotes reports whether a value would not read as one word.
func needsQuotes(s string) bool {
	for _, r := range s {
		if r == ' ' || r == '"' || r == '=' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return true
		}
	}
	return false
}

// appendText appends s with everything that is not printable escaped, so that
// a message is always one line and cannot drive a terminal.
func appendText(b []byte, s string) []byte {
	for i, w := 0, 0; i < len(s); i += w {
		var r rune
		if r, w = utf8.DecodeRuneInString(s[i:]); (r != utf8.RuneError || w > 1) && unicode.IsPrint(r) {
			b = append(b, s[i:i+w]...)
			continue
		}
		quoted := strconv.AppendQuote(nil, s[i:i+w])
		b = append(b, quoted[1:len(quoted)-1]...)
	}
	return b
}
