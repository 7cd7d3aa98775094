package posix

import (
	"sync"
	"syscall"
)

// control is a file whose text is made when its beginning is read, and that does what is
// written to it.
type control struct {
	null
	text func() []byte
	do   func(words string) syscall.Errno

	mu   sync.Mutex
	made []byte
	off  int
}

func (c *control) read(p []byte, _ int) (int, syscall.Errno) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.at(p, c.off)
	c.off += n
	return n, 0
}

func (c *control) readAt(p []byte, off int64) (int, syscall.Errno) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if off < 0 {
		return 0, syscall.EINVAL
	}
	return c.at(p, int(off)), 0
}

// at copies the text from an offset on. c.mu is held.
func (c *control) at(p []byte, off int) int {
	if off == 0 {
		c.made = c.text()
	}
	return copy(p, c.made[min(off, len(c.made)):])
}

func (c *control) write(p []byte, _ int) (int, syscall.Errno) {
	if err := c.do(string(p)); err != 0 {
		return 0, err
	}
	return len(p), 0
}

func (c *control) writeAt(p []byte, _ int64) (int, syscall.Errno) { return c.write(p, 0) }
