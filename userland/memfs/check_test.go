package memfs

import (
	"bytes"
	"errors"
	"fmt"
)

// check recounts what the file system keeps count of: charges, links, chunks and
// the order of directories. handles are the open ones.
func (fs *FS) check(handles []*Handle) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	links, opens := map[*node]uint32{fs.root: 1}, map[*node]int{}
	var used int64
	var visit func(n *node)
	seen := map[*node]bool{}
	count := func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		used += n.cost()
		if err := n.file.check(); err != nil {
			fail("node %d: %v", n.ino, err)
		}
		used += n.file.charged
	}
	visit = func(n *node) {
		count(n)
		if !n.isDir() {
			return
		}
		links[n]++ // "."
		alive, cookie := 0, uint64(cookieParent)
		for _, e := range n.dir.order {
			if e.cookie <= cookie {
				fail("directory %d: cookie %d after %d", n.ino, e.cookie, cookie)
			}
			cookie = e.cookie
			if e.node == nil {
				continue
			}
			alive++
			if n.dir.names[e.name] != e {
				fail("directory %d: %q in the order is not in the map", n.ino, e.name)
			}
			if !e.free {
				used += NameCost
			}
			links[e.node]++
			if e.node.isDir() {
				links[n]++ // ".."
				if e.node.dir.parent != n || e.node.dir.name != e.name {
					fail("directory %q does not know its name", e.name)
				}
				if links[e.node] > 1 {
					fail("directory %q has two names", e.name)
					continue
				}
			}
			visit(e.node)
		}
		if len(n.dir.names) != alive || len(n.dir.order)-alive != n.dir.dead || n.dir.last < cookie && alive > 0 {
			fail("directory %d: %d names, %d alive, %d in order, %d dead", n.ino, len(n.dir.names), alive, len(n.dir.order), n.dir.dead)
		}
	}
	visit(fs.root)
	for _, h := range handles {
		if !h.closed {
			opens[h.node]++
			count(h.node)
		}
	}
	for n := range seen {
		if n.nlink != links[n] || n.opens != opens[n] {
			fail("node %d: %d links and %d handles, counted %d and %d", n.ino, n.nlink, n.opens, links[n], opens[n])
		}
	}
	if fs.used != used || used > fs.quota {
		fail("%d bytes charged of %d, counted %d", fs.used, fs.quota, used)
	}
	return errors.Join(errs...)
}

func (c *content) check() error {
	if c.fixed != nil {
		if len(c.chunks) > 0 || c.charged != 0 {
			return errors.New("a fixed file has chunks")
		}
		return nil
	}
	var charged int64
	for number, chunk := range c.chunks {
		off := number * smallChunk
		if number >= smallOnes {
			off = (number - smallOnes + 1) * largeChunk
		}
		if n, in, length := place(off); n != number || in != 0 || length != int64(len(chunk)) {
			return fmt.Errorf("chunk %d has %d bytes", number, len(chunk))
		}
		charged += int64(len(chunk))
		if off >= c.size {
			return fmt.Errorf("chunk %d is beyond the size %d", number, c.size)
		}
		if rest := chunk[min(c.size-off, int64(len(chunk))):]; !bytes.Equal(rest, make([]byte, len(rest))) {
			return fmt.Errorf("chunk %d is not 0 beyond the size", number)
		}
	}
	if charged != c.charged {
		return fmt.Errorf("%d bytes charged, counted %d", c.charged, charged)
	}
	return nil
}
