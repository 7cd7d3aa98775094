package domain

import (
	"sync"
	"time"
)

// Bounds of what a domain writes to the console.
const (
	outRate  = 64 << 10  // bytes a second, in the long run
	outBurst = 256 << 10 // bytes at once
	lineMax  = 1024      // longer lines are cut into several
)

// output gathers what a domain writes into lines.
type output struct {
	print func(line []byte)
	line  []byte
	// raw, if set, takes everything as it is, and there is no limit: the
	// domain has the console to itself.
	mu  sync.Mutex
	raw func([]byte)
	// debt is how much more than its rate it has written at a time.
	debt int
	at   time.Duration
}

func (o *output) setRaw(raw func([]byte)) {
	o.mu.Lock()
	o.raw = raw
	o.mu.Unlock()
}

// reserve returns how long the domain must wait before it writes n more bytes.
func (o *output) reserve(n int, now time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.raw != nil {
		return 0
	}
	paid := int(int64(min(now-o.at, time.Minute)) * outRate / int64(time.Second))
	o.at = now
	o.debt = max(o.debt-paid, 0) + n
	if o.debt <= outBurst {
		return 0
	}
	return time.Duration(int64(o.debt-outBurst) * int64(time.Second) / outRate)
}

// write prints the lines that are complete.
func (o *output) write(p []byte) {
	o.mu.Lock()
	raw := o.raw
	o.mu.Unlock()
	if raw != nil {
		raw(p)
		return
	}
	for _, c := range p {
		if c == '\n' {
			o.flush()
			continue
		}
		if len(o.line) == lineMax {
			o.flush()
		}
		o.line = append(o.line, printable(c))
	}
}

// flush prints what is there as a line.
func (o *output) flush() {
	o.print(o.line)
	o.line = o.line[:0]
}

// close prints what has no line feed at its end.
func (o *output) close() {
	if len(o.line) > 0 {
		o.flush()
	}
}

// printable keeps a domain from moving the cursor or ringing the bell: control
// characters but tab become question marks.
func printable(c byte) byte {
	if c < ' ' && c != '\t' || c == 0x7f {
		return '?'
	}
	return c
}

// inputMax is how much may wait for a domain to read it, in bytes.
const inputMax = 4096

// input is what was typed for a domain.
type input struct {
	mu    sync.Mutex
	bytes []byte
	ended bool
}

// add appends typed text; what does not fit is left out, and how much fitted is
// returned.
func (i *input) add(p []byte) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := min(len(p), inputMax-len(i.bytes))
	i.bytes = append(i.bytes, p[:n]...)
	return n
}

// end says that nothing more comes before the next attach.
func (i *input) end(ended bool) {
	i.mu.Lock()
	i.ended = ended
	i.mu.Unlock()
}

// read takes what is there. end says that nothing will come.
func (i *input) read(p []byte) (n int, end bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n = copy(p, i.bytes)
	i.bytes = i.bytes[:copy(i.bytes, i.bytes[n:])]
	return n, n == 0 && i.ended && len(p) > 0
}
