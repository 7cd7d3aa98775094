package memfs

import "slices"

// Cookies of "." and "..". The entries of a directory have larger ones.
const (
	cookieSelf = 1 + iota
	cookieParent
)

// entry is a name in a directory.
type entry struct {
	name   string
	node   *node  // nil: the entry was removed
	cookie uint64 // its place in the order of reading
	free   bool   // not charged
}

// directory holds the entries of a directory, by name and in the order in which
// they were added. Cookies only grow, so a reader that remembers the last one
// it has seen finds its place again whatever was added or removed meanwhile.
type directory struct {
	parent *node // nil: the directory was removed
	name   string
	names  map[string]*entry
	order  []*entry // by cookie; includes removed entries
	dead   int      // removed entries in order
	last   uint64   // the largest cookie given out
}

// add makes an entry. The name is not there yet.
func (d *directory) add(name string, n *node, free bool) {
	d.last = max(d.last, cookieParent) + 1
	e := &entry{name: name, node: n, cookie: d.last, free: free}
	if d.names == nil {
		d.names = make(map[string]*entry)
	}
	d.names[name] = e
	d.order = append(d.order, e)
}

// remove takes an entry away. Removed entries are cleaned up when they are the
// larger part.
func (d *directory) remove(e *entry) {
	delete(d.names, e.name)
	e.node = nil
	d.dead++
	if d.dead > 16 && d.dead > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(e *entry) bool { return e.node == nil })
		d.dead = 0
	}
}

// after returns where in order the entries begin whose cookies are larger.
func (d *directory) after(cookie uint64) int {
	i, found := slices.BinarySearchFunc(d.order, cookie, func(e *entry, c uint64) int {
		switch {
		case e.cookie < c:
			return -1
		case e.cookie > c:
			return 1
		}
		return 0
	})
	if found {
		i++
	}
	return i
}

// enter gives n a name in the directory and counts it. The caller has charged
// the name, or it is free.
func (fs *FS) enter(dir *node, name string, n *node, free bool) {
	dir.dir.add(name, n, free)
	if n.isDir() {
		n.dir.parent, n.dir.name = dir, name
		n.nlink = 2
		dir.nlink++
	} else {
		n.nlink++
	}
	fs.changed(dir)
}

// forget undoes enter: it is what unlink and rmdir do.
func (fs *FS) forget(dir *node, e *entry) {
	n := e.node
	dir.dir.remove(e)
	if !e.free {
		fs.release(NameCost)
	}
	fs.changed(dir)
	fs.unname(dir, n)
}

// unname counts one name of n less; it was in dir.
func (fs *FS) unname(dir, n *node) {
	if n.isDir() {
		n.dir.parent = nil
		n.nlink = 0
		dir.nlink--
	} else {
		n.nlink--
	}
	n.ctime = fs.now()
	fs.drop(n)
}
