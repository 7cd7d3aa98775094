package memfs

import "syscall"

// Open opens the file of a path, which is taken from the directory at if it is
// not absolute. OCreate makes a file of the permissions in mode.
func (fs *FS) Open(at *Handle, path string, flags int, mode uint32) (*Handle, syscall.Errno) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if flags&OPath != 0 {
		flags &= OPath | ODirectory | ONoFollow
	}
	if flags&(OCreate|ODirectory) == OCreate|ODirectory {
		return nil, syscall.EINVAL
	}
	n, created, err := fs.toOpen(at, path, flags, mode)
	if err != 0 {
		return nil, err
	}
	if err := fs.mayOpen(n, flags, created); err != 0 {
		return nil, err
	}
	if flags&OTruncate != 0 && n.isRegular() && !created {
		fs.resize(&n.file, 0)
		fs.changed(n)
	}
	n.opens++
	return &Handle{fs: fs, node: n, flags: flags, limit: n.dir.last}, 0
}

// toOpen finds or creates the node of a path.
func (fs *FS) toOpen(at *Handle, path string, flags int, mode uint32) (n *node, created bool, err syscall.Errno) {
	if flags&OCreate == 0 {
		n, err = fs.lookup(at, path, flags&ONoFollow == 0)
		return n, false, err
	}
	f, err := fs.walk(at, path, ending{follow: flags&(ONoFollow|OExclusive) == 0, noDir: true})
	switch {
	case err != 0:
		return nil, false, err
	case f.node != nil:
		return f.node, false, 0
	case len(f.name) > maxName || f.dir.dir.parent == nil:
		return nil, false, f.missing()
	}
	n, err = fs.create(f.dir, f.name, ModeRegular|mode&modeBits, "")
	return n, true, err
}

// mayOpen says why a node cannot be opened.
func (fs *FS) mayOpen(n *node, flags int, created bool) syscall.Errno {
	if flags&OPath != 0 {
		if flags&ODirectory != 0 && !n.isDir() {
			return syscall.ENOTDIR
		}
		return 0
	}
	write := flags&OAccess != OReadOnly || flags&OTruncate != 0
	switch {
	case flags&(OCreate|OExclusive) == OCreate|OExclusive && !created:
		return syscall.EEXIST
	case flags&OCreate != 0 && n.isDir():
		return syscall.EISDIR
	case flags&ODirectory != 0 && !n.isDir():
		return syscall.ENOTDIR
	case n.isSymlink():
		return syscall.ELOOP
	case n.isDir() && write:
		return syscall.EISDIR
	case n.isRegular() && n.file.fixed != nil && write:
		return syscall.EROFS
	}
	return 0
}

// create makes a node with a name, and charges both.
func (fs *FS) create(dir *node, name string, mode uint32, target string) (*node, syscall.Errno) {
	if err := fs.charge(NodeCost + NameCost + int64(len(target))); err != 0 {
		return nil, err
	}
	n := fs.makeNode(mode, false)
	n.target = target
	fs.enter(dir, name, n, false)
	return n, 0
}
