package memfs

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
)

func TestPlaceCoversEveryByteOnce(t *testing.T) {
	number, next := int64(-1), int64(0)
	for off := int64(0); off < 1<<20; off++ {
		n, in, length := place(off)
		if off == next {
			number, next = number+1, off+length
		}
		if n != number || in != length-(next-off) {
			t.Fatalf("byte %d: chunk %d at %d of %d, want chunk %d", off, n, in, length, number)
		}
	}
}

// A file and a slice of bytes go through the same random changes.
func TestContentIsLikeASlice(t *testing.T) {
	const limit = 300 << 10
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		fs := newFS(t, 1<<30)
		h := open(t, fs, "/f", OReadWrite|OCreate)
		var model []byte
		for range 200 {
			off, n := rnd.Int64N(limit), rnd.IntN(70<<10)
			switch rnd.IntN(4) {
			case 0:
				want(t, h.Truncate(off), 0)
				if off > int64(len(model)) {
					model = append(model, make([]byte, off-int64(len(model)))...)
				}
				model = model[:off:off]
			case 1, 2:
				p := bytes.Repeat([]byte{byte(rnd.IntN(255) + 1)}, n)
				if got, err := h.WriteAt(p, off); got != n || err != 0 {
					t.Fatalf("WriteAt: %d, %v", got, err)
				}
				if end := off + int64(n); n > 0 && end > int64(len(model)) {
					model = append(model, make([]byte, end-int64(len(model)))...)
				}
				copy(model[min(off, int64(len(model))):], p)
			default:
				p := make([]byte, n)
				got, err := h.ReadAt(p, off)
				want(t, err, 0)
				if expected := model[min(off, int64(len(model))):min(off+int64(n), int64(len(model)))]; !bytes.Equal(p[:got], expected) {
					t.Fatalf("seed %d: %d bytes at %d differ", seed, n, off)
				}
			}
			if err := fs.check([]*Handle{h}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestHolesCostNothing(t *testing.T) {
	fs := newFS(t, 1<<20)
	h := open(t, fs, "/f", OReadWrite|OCreate)
	want(t, h.Truncate(1<<50), 0)
	if n, err := h.WriteAt([]byte("end"), 1<<50); n != 3 || err != 0 {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
	if used, _ := fs.Usage(); used != NodeCost+NameCost+largeChunk {
		t.Errorf("%d bytes charged", used)
	}
	want(t, h.Truncate(1<<40), 0)
	if used, _ := fs.Usage(); used != NodeCost+NameCost {
		t.Errorf("%d bytes charged", used)
	}
	_, err := h.WriteAt([]byte{1}, maxSize)
	want(t, err, syscall.EFBIG)
	if n, err := h.WriteAt([]byte{1, 2, 3}, maxSize-2); n != 2 || err != 0 {
		t.Errorf("at the largest size: %d, %v", n, err)
	}
	want(t, h.Truncate(maxSize+1), syscall.EFBIG)
	want(t, h.Truncate(-1), syscall.EINVAL)
}

func TestQuota(t *testing.T) {
	fs := newFS(t, 2*(NodeCost+NameCost)+2*smallChunk)
	h := open(t, fs, "/f", OReadWrite|OCreate)
	if n, err := h.Write(make([]byte, 3*smallChunk)); n != 2*smallChunk || err != 0 {
		t.Fatalf("Write: %d, %v", n, err)
	}
	_, err := h.Write([]byte{1})
	want(t, err, syscall.ENOSPC)
	want(t, fs.Mkdir(nil, "/d", 0o755), 0)
	want(t, fs.Mkdir(nil, "/e", 0o755), syscall.ENOSPC)
	want(t, fs.Link(nil, "/f", nil, "/g", false), syscall.ENOSPC)
	want(t, fs.Symlink("f", nil, "/g"), syscall.ENOSPC)
	want(t, fs.Rename(nil, "/d", nil, "/renamed", 0), 0)
	want(t, fs.Unlink(nil, "/f"), 0)
	if used, _ := fs.Usage(); used != 2*NodeCost+NameCost+2*smallChunk {
		t.Errorf("%d bytes charged while the file is open", used)
	}
	h.Close()
	h.Close()
	if used, _ := fs.Usage(); used != NodeCost+NameCost {
		t.Errorf("%d bytes charged", used)
	}
}

func BenchmarkWrite(b *testing.B) {
	fs := New(1<<30, ticks())
	h := open(b, fs, "/f", OReadWrite|OCreate)
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for i := range b.N {
		h.WriteAt(p, int64(i%64)*int64(len(p)))
	}
}
