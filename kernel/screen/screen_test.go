package screen

import (
	"image"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/image/font/inconsolata"
	"golang.org/x/image/math/fixed"

	"github.com/sluice-os/sluice/kernel/bootinfo"
)

// TestFont: the letters in the repository are those of the library.
func TestFont(t *testing.T) {
	var want []byte
	face := inconsolata.Regular8x16
	for c := rune(firstLetter); c <= lastLetter; c++ {
		to, mask, at, _, ok := face.Glyph(fixed.P(0, face.Ascent), c)
		if !ok || to != image.Rect(0, 0, letterWidth+1, letterHeight+1) { // with a gap, which is above the letters
			t.Fatalf("%q: %v at %v", c, ok, to)
		}
		for y := range letterHeight {
			var row byte
			for x := range letterWidth {
				row <<= 1
				if _, _, _, a := mask.At(at.X+x, at.Y+y+1).RGBA(); a >= 0x6000 {
					row |= 1
				}
			}
			want = append(want, row)
		}
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("font.bin", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if font != string(want) {
		t.Error("font.bin is not the library's font: run UPDATE=1 go test -run TestFont")
	}
}

// opened returns a screen and its frame buffer.
func opened(t *testing.T, m bootinfo.Screen) (*Screen, []byte) {
	t.Helper()
	memory := make([]uint32, m.Size/4+1)
	memory[m.Size/4] = 0x12345678
	t.Cleanup(func() {
		if memory[m.Size/4] != 0x12345678 {
			t.Error("a store behind the frame buffer")
		}
	})
	if !Fits(m) {
		t.Fatalf("%+v does not fit", m)
	}
	s := new(Screen)
	s.Open(m, uintptr(unsafe.Pointer(&memory[0])))
	return s, unsafe.Slice((*byte)(unsafe.Pointer(&memory[0])), m.Size)
}

// text reads the letters that a frame buffer shows.
func text(m bootinfo.Screen, memory []byte) string {
	var b strings.Builder
	if m.Format == bootinfo.ScreenText {
		for y := range m.Height {
			for x := range m.Width {
				b.WriteByte(memory[2*(y*m.Stride+x)])
			}
			b.WriteByte('\n')
		}
		return b.String()
	}
	letters := map[string]byte{}
	for c := firstLetter; c <= lastLetter; c++ {
		letters[font[int(c-firstLetter)*letterHeight:][:letterHeight]] = byte(c)
	}
	for y := range m.Height / letterHeight {
		for x := range m.Width / letterWidth {
			var bits [letterHeight]byte
			for j := range uint32(letterHeight) {
				for i := range uint32(letterWidth) {
					if memory[4*((y*letterHeight+j)*m.Stride+x*letterWidth+i)] != 0 {
						bits[j] |= 0x80 >> i
					}
				}
			}
			b.WriteByte(letters[string(bits[:])])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestPut(t *testing.T) {
	for _, m := range []bootinfo.Screen{
		{Size: 4 * 70 * 60, Width: 64 + 5, Height: 48 + 7, Stride: 70, Format: 1},
		{Size: 2 * 8 * 3, Width: 8, Height: 3, Stride: 8, Format: bootinfo.ScreenText},
	} {
		for _, c := range []struct{ in, want string }{
			{"ab\r\ncd", "ab      \ncd      \n        \n"},
			{"12345678", "12345678\n        \n        \n"},
			{"123456789", "12345678\n9       \n        \n"},
			{"a\r\nb\r\nc\r\nd", "b       \nc       \nd       \n"},
			{"a\n\n\n\n", "        \n        \n        \n"},
			{"abc\b\bx", "axc     \n        \n        \n"},
			{"\bx", "x       \n        \n        \n"},
			{"abcd\rxy\x1b[K", "xy      \n        \n        \n"},
			{"a\x1b[1;31mb\x1b[0mc\x1bcd", "abcd    \n        \n        \n"},
			{"gr\xc3\xbcn \xe2\x82\xac\x00\x07", "gr?n ?  \n        \n        \n"},
		} {
			s, memory := opened(t, m)
			for i := range len(c.in) {
				s.Put(c.in[i])
			}
			if got := text(m, memory); got != c.want {
				t.Errorf("format %d: %q shows\n%swant\n%s", m.Format, c.in, got, c.want)
			}
		}
	}
}

func TestFits(t *testing.T) {
	good := bootinfo.Screen{Base: 0x80000000, Size: 1280 * 800 * 4, Width: 1280, Height: 800, Stride: 1280, Format: 1}
	if !Fits(good) {
		t.Error("a screen of 1280 by 800 does not fit")
	}
	for name, change := range map[string]func(*bootinfo.Screen){
		"none":         func(m *bootinfo.Screen) { *m = bootinfo.Screen{} },
		"short":        func(m *bootinfo.Screen) { m.Size-- },
		"no buffer":    func(m *bootinfo.Screen) { m.Format = 3 },
		"any order":    func(m *bootinfo.Screen) { m.Format = 2 },
		"narrow lines": func(m *bootinfo.Screen) { m.Stride = 1279 },
		"flat":         func(m *bootinfo.Screen) { m.Height = 15 },
		"endless":      func(m *bootinfo.Screen) { m.Height, m.Size = 1<<31, 1<<62 },
		"nowhere":      func(m *bootinfo.Screen) { m.Base = 1 << 52 },
	} {
		m := good
		if change(&m); Fits(m) {
			t.Errorf("%s: %+v fits", name, m)
		}
	}
}

// FuzzPut: whatever is put, nothing is stored outside of the frame buffer.
func FuzzPut(f *testing.F) {
	f.Add([]byte("a\x1b[2Kb\r\n\b\b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := bootinfo.Screen{Size: 4 * 70 * 60, Width: 69, Height: 55, Stride: 70, Format: 0}
		s, _ := opened(t, m)
		for _, c := range in {
			s.Put(c)
		}
		if s.column > s.columns || s.line >= s.lines {
			t.Errorf("at %d, %d", s.column, s.line)
		}
	})
}

// TestNothingIsAllocated: it serves on the fatal path.
func TestNothingIsAllocated(t *testing.T) {
	m := bootinfo.Screen{Size: 4 * 640 * 480, Width: 640, Height: 480, Stride: 640}
	s, _ := opened(t, m)
	if n := testing.AllocsPerRun(100, func() {
		for _, c := range []byte("a line that moves all others up\r\n") {
			s.Put(c)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
