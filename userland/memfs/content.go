package memfs

import "syscall"

const (
	smallChunk = 4 << 10
	largeChunk = 64 << 10
	smallOnes  = largeChunk / smallChunk // chunks in the first 64 KiB
)

// content is the data of a regular file. A chunk that is not there is a hole.
// Bytes of a chunk beyond size are 0.
type content struct {
	size    int64
	fixed   []byte           // a file of the image: not nil, never changed
	chunks  map[int64][]byte // by number, see place
	charged int64            // the sum of the lengths of the chunks
}

// place returns which chunk holds the byte at off, where in the chunk it is, and
// how long the chunk is.
func place(off int64) (number, in, length int64) {
	if off < largeChunk {
		return off / smallChunk, off % smallChunk, smallChunk
	}
	return smallOnes - 1 + off/largeChunk, off % largeChunk, largeChunk
}

// readAt copies bytes from off on to p. It returns fewer than len(p) only at
// the end of the data.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	if c.fixed != nil {
		return copy(p, c.fixed[off:])
	}
	done := 0
	for done < len(p) {
		number, in, length := place(off + int64(done))
		part := p[done:min(len(p), done+int(length-in))]
		if chunk := c.chunks[number]; chunk != nil {
			copy(part, chunk[in:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return done
}

// writeAt copies p to off. It returns fewer than len(p), with an error, when the
// quota or the largest size is reached.
func (fs *FS) writeAt(c *content, p []byte, off int64) (done int, err syscall.Errno) {
	if off >= maxSize {
		return 0, syscall.EFBIG
	}
	if int64(len(p)) > maxSize-off {
		p = p[:maxSize-off]
	}
	for done < len(p) {
		number, in, length := place(off + int64(done))
		chunk := c.chunks[number]
		if chunk == nil {
			if err = fs.charge(length); err != 0 {
				break
			}
			chunk = make([]byte, length)
			if c.chunks == nil {
				c.chunks = make(map[int64][]byte)
			}
			c.chunks[number] = chunk
			c.charged += length
		}
		done += copy(chunk[in:], p[done:])
	}
	if done > 0 {
		c.size = max(c.size, off+int64(done))
	}
	return done, err
}

// resize cuts the data off at size, or adds a hole.
func (fs *FS) resize(c *content, size int64) {
	if size < c.size && len(c.chunks) > 0 {
		first, in, _ := place(size)
		if in > 0 {
			if chunk := c.chunks[first]; chunk != nil {
				clear(chunk[in:])
			}
			first++
		}
		last, _, _ := place(c.size - 1)
		if last-first < int64(len(c.chunks)) {
			for number := first; number <= last; number++ {
				fs.dropChunk(c, number)
			}
		} else {
			for number := range c.chunks {
				if number >= first {
					fs.dropChunk(c, number)
				}
			}
		}
	}
	c.size = size
}

func (fs *FS) dropChunk(c *content, number int64) {
	n := int64(len(c.chunks[number]))
	delete(c.chunks, number)
	c.charged -= n
	fs.release(n)
}
