// Package console is the serial port: output for everything that is printed,
// input for the shell. A screen that a loader has found shows the output too.
package console

import (
	"io"
	"sync"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/screen"
	"github.com/usbarmory/tamago/soc/intel/uart"
)

// COM1 and its interrupt line.
const (
	port = 0x3f8
	// Line is the ISA interrupt of the port.
	Line = 4

	ier   = port + uart.IER
	fcr   = port + uart.FCR
	lcr   = port + uart.LCR
	mcr   = port + uart.MCR
	lsr   = port + uart.LSR
	thr   = port + uart.THR
	spins = 100_000 // a byte at 1200 baud takes less
)

// Init sets 115200 baud, 8 data bits, no parity, FIFOs on, and the receive
// interrupt, which needs OUT2 on a PC. Turning the FIFOs on drops what has been
// received: where a byte is waiting, as when QEMU's input is a pipe, they stay
// off, and the sender holds the rest back.
func Init() {
	cpu.Out8(ier, 0)
	cpu.Out8(lcr, 0x80) // divisor latch
	cpu.Out8(port, 1)
	cpu.Out8(ier, 0)
	cpu.Out8(lcr, 0x03)
	if cpu.In8(lsr)&(1<<uart.LSR_DR) == 0 {
		cpu.Out8(fcr, 0x07)
	}
	cpu.Out8(mcr, 0x0b)
	cpu.Out8(ier, 0x01)
}

// Screen shows what is written to the port, once it has been opened.
var Screen screen.Screen

// Put writes one byte, waiting for room as long as a port can take at most: a
// port that is not there loses the byte and stops nothing.
//
//go:nosplit
func Put(c byte) {
	for range spins {
		if cpu.In8(lsr)&(1<<uart.LSR_THRE) != 0 {
			break
		}
	}
	cpu.Out8(thr, c)
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
		for n < len(p) && cpu.In8(lsr)&(1<<uart.LSR_DR) != 0 {
			p[n] = cpu.In8(port)
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
