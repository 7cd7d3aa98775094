package memfs

import "syscall"

// Rename moves a name. What has the new name is replaced, if it is not a
// directory with entries; a directory replaces only a directory.
func (fs *FS) Rename(oldAt *Handle, oldPath string, at *Handle, path string, flags int) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if flags&^RenameNoReplace != 0 {
		return syscall.EINVAL
	}
	from, err := fs.walk(oldAt, oldPath, ending{})
	if err != 0 {
		return err
	}
	to, err := fs.walk(at, path, ending{})
	if err != 0 {
		return err
	}
	if err := mayRename(&from, &to, flags); err != 0 {
		return err
	}
	if from.node != to.node {
		fs.rename(&from, &to)
	}
	return 0
}

// mayRename says why a name cannot be moved, in the order of Linux.
func mayRename(from, to *found, flags int) syscall.Errno {
	noReplace := flags&RenameNoReplace != 0
	switch {
	case from.name == "":
		return syscall.EBUSY
	case to.name == "" && noReplace:
		return syscall.EEXIST
	case to.name == "":
		return syscall.EBUSY
	case from.node == nil:
		return from.missing()
	case len(to.name) > maxName:
		return syscall.ENAMETOOLONG
	case to.node != nil && noReplace:
		return syscall.EEXIST
	case !from.node.isDir() && (from.slash || to.slash):
		return syscall.ENOTDIR
	case within(to.dir, from.node):
		return syscall.EINVAL
	case to.node != nil && within(from.dir, to.node):
		return syscall.ENOTEMPTY
	case from.node == to.node:
		return 0
	case to.dir.dir.parent == nil:
		return syscall.ENOENT
	case to.node == nil:
		return 0
	case from.node.isDir() && !to.node.isDir():
		return syscall.ENOTDIR
	case !from.node.isDir() && to.node.isDir():
		return syscall.EISDIR
	case len(to.node.dir.names) > 0:
		return syscall.ENOTEMPTY
	}
	return 0
}

// within says whether n is the directory dir or below it.
func within(n, dir *node) bool {
	for n != nil {
		if n == dir {
			return true
		}
		if n.dir.parent == n {
			return false
		}
		n = n.dir.parent
	}
	return false
}

// rename moves the name. An entry that is replaced keeps its place in the order
// of reading and its charge: who reads the directory sees the name once.
func (fs *FS) rename(from, to *found) {
	old, n := from.entry(), from.node
	from.dir.dir.remove(old)
	if to.node != nil {
		e := to.entry()
		e.node = n
		if !old.free {
			fs.release(NameCost)
		}
		fs.unname(to.dir, to.node)
	} else {
		to.dir.dir.add(to.name, n, old.free)
	}
	if n.isDir() {
		n.dir.parent, n.dir.name = to.dir, to.name
		from.dir.nlink--
		to.dir.nlink++
	}
	n.ctime = fs.now()
	fs.changed(from.dir)
	fs.changed(to.dir)
}
