package memfs

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// player makes random operations of bytes. It knows few names, so that they meet.
type player struct {
	fs      *FS
	bytes   []byte
	handles []*Handle
}

func (p *player) next(n int) int {
	if len(p.bytes) == 0 {
		return 0
	}
	b := p.bytes[0]
	p.bytes = p.bytes[1:]
	return int(b) % n
}

func (p *player) path() string {
	parts := []string{"a", "b", "c", "d", "l", "..", ".", "image", ""}
	path := []string{"", "/"}[p.next(2)]
	for range 1 + p.next(3) {
		path += parts[p.next(len(parts))] + "/"
	}
	if p.next(8) > 0 {
		path = path[:len(path)-1]
	}
	return path
}

// handle returns one of the open handles, or nil.
func (p *player) handle() *Handle {
	if i := p.next(8); i < len(p.handles) {
		return p.handles[i]
	}
	return nil
}

func (p *player) step() {
	switch p.next(16) {
	case 0, 1:
		p.fs.Mkdir(p.handle(), p.path(), 0o755)
	case 2:
		p.fs.Rmdir(p.handle(), p.path())
	case 3:
		p.fs.Unlink(p.handle(), p.path())
	case 4:
		p.fs.Symlink(p.path(), p.handle(), p.path())
	case 5:
		p.fs.Link(p.handle(), p.path(), p.handle(), p.path(), p.next(2) == 0)
	case 6, 7:
		p.fs.Rename(p.handle(), p.path(), p.handle(), p.path(), p.next(2))
	case 8:
		p.fs.Truncate(p.handle(), p.path(), int64(p.next(256)*1000))
	case 9, 10:
		flags := []int{OReadOnly, OWriteOnly, OReadWrite, OPath}[p.next(4)]
		for _, f := range []int{OCreate, OExclusive, OTruncate, OAppend, ODirectory, ONoFollow} {
			if p.next(3) == 0 {
				flags |= f
			}
		}
		if h, err := p.fs.Open(p.handle(), p.path(), flags, 0o644); err == 0 {
			p.handles = append(p.handles, h)
		}
	case 11:
		p.fs.AddFile("/image", []byte("image"), 0o444)
	default:
		p.useHandle()
	}
}

func (p *player) useHandle() {
	if len(p.handles) == 0 {
		return
	}
	i := p.next(len(p.handles))
	h := p.handles[i]
	switch p.next(7) {
	case 0:
		h.Write(make([]byte, p.next(256)*100))
	case 1:
		h.Read(make([]byte, p.next(256)))
	case 2:
		h.SeekTo(int64(p.next(256)-10)*1000, p.next(6))
	case 3:
		h.Truncate(int64(p.next(256) * 1000))
	case 4:
		n := p.next(4)
		h.ReadDir(func(DirEntry) bool { n--; return n > 0 })
	default:
		h.Close()
		p.handles = append(p.handles[:i], p.handles[i+1:]...)
	}
}

func (p *player) closeAll() {
	for _, h := range p.handles {
		h.Close()
	}
	p.handles = nil
}

func FuzzOperations(f *testing.F) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		data := make([]byte, 2000)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &player{fs: New(128<<10, ticks()), bytes: data}
		for len(p.bytes) > 0 {
			p.step()
			if err := p.fs.check(p.handles); err != nil {
				t.Fatal(err)
			}
		}
		p.closeAll()
		if err := p.fs.check(nil); err != nil {
			t.Fatal(err)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	fs := newFS(t, 256<<10)
	var wait sync.WaitGroup
	for seed := range uint64(8) {
		wait.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 3))
			data := make([]byte, 40000)
			for i := range data {
				data[i] = byte(rnd.Uint32())
			}
			p := &player{fs: fs, bytes: data}
			for len(p.bytes) > 0 {
				p.step()
			}
			p.closeAll()
		})
	}
	wait.Wait()
}
