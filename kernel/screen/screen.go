// Package screen writes text on the screen that a loader has found: letters of 8 by 16
// pixels into a frame buffer, or cells of a screen of text. It shows what the serial port
// shows, and takes no input.
package screen

import (
	_ "embed"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/bootinfo"
)

const (
	letterWidth  = 8
	letterHeight = 16
	// columnsMost and linesMost bound the part of a large screen that is used.
	columnsMost = 240
	linesMost   = 90

	firstLetter = ' '
	lastLetter  = '~'

	light = 0x00c8c8c8 // the same in each order of red, green and blue
	cell  = 0x0700     // light on black (VGA)
)

// font has the letters from ' ' to '~', 16 bytes each, a line of 8 pixels a byte, the
// leftmost in the highest bit: Inconsolata, by Raph Levien and Cyreal, as it is in
// golang.org/x/image/font/inconsolata.
//
//go:embed font.bin
var font string

// Screen is a screen with text. The zero value shows nothing. Its methods need no memory
// and no stack to speak of: they serve while there is no heap, and on the fatal path.
// They may be called by one at a time; what two write at once is a mixture, no more.
type Screen struct {
	memory         uintptr // of the frame buffer; 0: none
	text           bool
	stride         uintptr // bytes from line to line of pixels, or of cells
	columns, lines int
	column, line   int
	escape         int // letters of an escape sequence that have come
	shown          [columnsMost * linesMost]byte
}

// Fits reports whether a screen is one that Open takes: a frame buffer of 32 bits a pixel,
// or a screen of text, that is as long as its lines say.
func Fits(m bootinfo.Screen) bool {
	width, height := uint32(letterWidth), uint32(letterHeight)
	if m.Format == bootinfo.ScreenText {
		width, height = 1, 1
	} else if m.Format > 1 { // RGB and BGR; others have no frame buffer, or any order
		return false
	}
	return m.Width >= width && m.Height >= height && m.Width <= m.Stride && m.Stride <= 1<<16 && m.Height <= 1<<16 &&
		Bytes(m) <= m.Size && Bytes(m) <= 1<<30 && m.Base < 1<<52
}

// Bytes is how much of its frame buffer a screen that Fits shows: what is behind, up to its
// Size, is not used.
func Bytes(m bootinfo.Screen) uint64 {
	size := uint64(4)
	if m.Format == bootinfo.ScreenText {
		size = 2
	}
	return uint64(m.Stride) * uint64(m.Height) * size
}

// Open clears a screen that Fits and begins to show what is put. memory is where the first
// Bytes of its frame buffer are mapped.
func (s *Screen) Open(m bootinfo.Screen, memory uintptr) {
	s.text = m.Format == bootinfo.ScreenText
	if s.text {
		s.stride, s.columns, s.lines = 2*uintptr(m.Stride), int(m.Width), int(m.Height)
	} else {
		s.stride, s.columns, s.lines = 4*uintptr(m.Stride), int(m.Width/letterWidth), int(m.Height/letterHeight)
	}
	s.columns, s.lines = min(s.columns, columnsMost), min(s.lines, linesMost)
	s.column, s.line, s.escape = 0, 0, 0
	s.memory = memory
	blank := uint32(0)
	if s.text {
		blank = (cell|' ')<<16 | cell | ' '
	}
	for at := uintptr(0); at+4 <= s.stride*uintptr(m.Height); at += 4 {
		store32(memory+at, blank)
	}
	for i := range s.shown {
		s.shown[i] = ' '
	}
}

// On reports whether anything is shown.
func (s *Screen) On() bool { return s.memory != 0 }

// Move says that the frame buffer is mapped elsewhere from now on; 0: nowhere.
func (s *Screen) Move(memory uintptr) {
	if s.memory != 0 {
		s.memory = memory
	}
}

// Put shows one byte of text, as a terminal does: carriage return, line feed, backspace,
// and of escape sequences the one that clears the rest of the line; others are left out,
// and so is what is not ASCII but for a question mark.
//
//go:nosplit
func (s *Screen) Put(c byte) {
	switch {
	case s.memory == 0:
	case s.escape == 1:
		s.escape = 0
		if c == '[' {
			s.escape = 2
		}
	case s.escape == 2:
		if c < '@' || c > '~' {
			return // a parameter
		}
		s.escape = 0
		if c == 'K' {
			for x := s.column; x < s.columns; x++ {
				s.show(x, s.line, ' ')
			}
		}
	case c == 0x1b:
		s.escape = 1
	case c == '\r':
		s.column = 0
	case c == '\n':
		s.feed()
	case c == '\b':
		if s.column > 0 {
			s.column--
		}
	case c < ' ' || c >= 0x80 && c < 0xc0: // control characters; the rest of a letter of UTF-8
	default:
		if s.column == s.columns {
			s.column = 0
			s.feed()
		}
		if c > lastLetter {
			c = '?'
		}
		s.show(s.column, s.line, c)
		s.column++
	}
}

// feed goes to the next line. On the last one the text moves up.
//
//go:nosplit
func (s *Screen) feed() {
	if s.line < s.lines-1 {
		s.line++
		return
	}
	for y := 0; y < s.lines-1; y++ {
		for x := 0; x < s.columns; x++ {
			s.show(x, y, *s.at(x, y+1))
		}
	}
	for x := 0; x < s.columns; x++ {
		s.show(x, s.line, ' ')
	}
}

// at is the letter that is shown at column x of line y.
//
// Safety: 0 <= x < columns <= columnsMost and 0 <= y < lines <= linesMost, as every caller
// has it, so the index is within shown. A bounds check would need stack that the fatal path
// may not have.
//
//go:nosplit
func (s *Screen) at(x, y int) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(&s.shown), y*columnsMost+x))
}

// show draws a letter where another one is shown.
//
// Safety of the stores: Fits has compared the frame buffer's length with its lines, of
// which columns and lines letters are a part.
//
//go:nosplit
func (s *Screen) show(x, y int, c byte) {
	old := s.at(x, y)
	if *old == c {
		return
	}
	*old = c
	if s.text {
		store16(s.memory+uintptr(y)*s.stride+uintptr(x)*2, cell|uint16(c))
		return
	}
	place := s.memory + uintptr(y)*letterHeight*s.stride + uintptr(x)*letterWidth*4
	// font has 95 letters, and c is one of them.
	bits := unsafe.Add(unsafe.Pointer(unsafe.StringData(font)), int(c-firstLetter)*letterHeight)
	for range letterHeight {
		row := *(*byte)(bits)
		for i := range uintptr(letterWidth) {
			colour := uint32(0)
			if row&0x80 != 0 {
				colour = light
			}
			store32(place+4*i, colour)
			row <<= 1
		}
		bits = unsafe.Add(bits, 1)
		place += s.stride
	}
}

//go:nosplit
//go:noinline
func store32(at uintptr, v uint32) { *(*uint32)(unsafe.Pointer(at)) = v }

//go:nosplit
//go:noinline
func store16(at uintptr, v uint16) { *(*uint16)(unsafe.Pointer(at)) = v }
