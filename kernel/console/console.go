// Package console is the serial port: output for everything that is printed,
// input for the shell. A screen that a loader has found shows the output too.
package console

import (
	"io"
	"sync"

	"github.com/sluice-os/sluice/kernel/screen"
)

// Screen shows what is written to the port, once it has been opened.
var Screen screen.Screen

// Put writes one byte, waiting for room as long as a port can take at most: a
// port that is not there loses the byte and stops nothing.
//
//go:nosplit
func Put(c byte) {
	send(c)
	Screen.Put(c)
}

// PutLine writes one byte and a carriage return before a line feed.
//
//go:nosplit
func PutLine(c byte) {
	if c == '\n' {
		Put('\r')
	}
	Put(c)
}

// writing is held for one Write, so that lines of two goroutines do not mix.
// Put and PutLine, which the fatal path uses, pass by it.
var writing sync.Mutex

// Writer writes to the port, line feeds as carriage return and line feed. What
// one Write takes stays together.
type Writer struct{}

// Write implements io.Writer. It never fails.
func (Writer) Write(p []byte) (int, error) {
	writing.Lock()
	defer writing.Unlock()
	for _, c := range p {
		PutLine(c)
	}
	return len(p), nil
}

// Raw writes to the port as it is given. What one Write takes stays together.
type Raw struct{}

// Write implements io.Writer. It never fails.
func (Raw) Write(p []byte) (int, error) {
	writing.Lock()
	defer writing.Unlock()
	for _, c := range p {
		Put(c)
	}
	return len(p), nil
}

// Reader reads what is typed. Wait parks the caller until the port interrupts.
type Reader struct {
	Wait func()
}

// Read implements io.Reader: it returns as soon as there is one byte.
func (r Reader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		for n < len(p) && waiting() {
			p[n] = receive()
			n++
		}
		if n > 0 {
			return n, nil
		}
		r.Wait()
	}
}

var (
	_ io.Writer = Writer{}
	_ io.Reader = Reader{}
)
