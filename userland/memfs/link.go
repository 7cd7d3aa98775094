package memfs

import "syscall"

// Mkdir makes a directory.
func (fs *FS) Mkdir(at *Handle, path string, mode uint32) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f, err := fs.vacant(at, path, true)
	if err != 0 {
		return err
	}
	_, err = fs.create(f.dir, f.name, ModeDir|mode&0o1777, "")
	return err
}

// Symlink makes a symbolic link that leads to target.
func (fs *FS) Symlink(target string, at *Handle, path string) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch {
	case target == "":
		return syscall.ENOENT
	case len(target) > maxPath:
		return syscall.ENAMETOOLONG
	}
	f, err := fs.vacant(at, path, false)
	if err != 0 {
		return err
	}
	_, err = fs.create(f.dir, f.name, ModeSymlink|0o777, target)
	return err
}

// Readlink returns where a symbolic link leads.
func (fs *FS) Readlink(at *Handle, path string) (string, syscall.Errno) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.lookup(at, path, false)
	if err != 0 {
		return "", err
	}
	if !n.isSymlink() {
		return "", syscall.EINVAL
	}
	return n.target, 0
}

// Target returns where the symbolic link leads that h stands for.
func (h *Handle) Target() (string, syscall.Errno) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if !h.node.isSymlink() {
		return "", syscall.ENOENT
	}
	return h.node.target, 0
}

// Link gives a file a second name. A symbolic link at the end of the first path
// is followed if follow is set, else it gets the name itself.
func (fs *FS) Link(oldAt *Handle, oldPath string, at *Handle, path string, follow bool) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.lookup(oldAt, oldPath, follow)
	if err != 0 {
		return err
	}
	f, err := fs.vacant(at, path, false)
	switch {
	case err != 0:
		return err
	case n.isDir():
		return syscall.EPERM
	}
	if err := fs.charge(NameCost); err != 0 {
		return err
	}
	fs.enter(f.dir, f.name, n, false)
	n.ctime = fs.now()
	return 0
}

// Unlink removes a name of something that is not a directory.
func (fs *FS) Unlink(at *Handle, path string) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f, err := fs.walk(at, path, ending{})
	switch {
	case err != 0:
		return err
	case f.node == nil:
		return f.missing()
	case f.name == "" || f.node.isDir():
		return syscall.EISDIR
	case f.slash:
		return syscall.ENOTDIR
	}
	fs.forget(f.dir, f.entry())
	return 0
}

// Rmdir removes an empty directory.
func (fs *FS) Rmdir(at *Handle, path string) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f, err := fs.walk(at, path, ending{})
	switch {
	case err != 0:
		return err
	case f.dots == ".":
		return syscall.EINVAL
	case f.dots == "..":
		return syscall.ENOTEMPTY
	case f.name == "":
		return syscall.EBUSY
	case f.node == nil:
		return f.missing()
	case !f.node.isDir():
		return syscall.ENOTDIR
	case len(f.node.dir.names) > 0:
		return syscall.ENOTEMPTY
	}
	fs.forget(f.dir, f.entry())
	return 0
}
