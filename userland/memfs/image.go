package memfs

import "syscall"

// AddFile adds a file whose bytes are data, with the directories above it. The
// bytes are not copied and must not change. The file is read-only, and neither
// it nor its directories are charged. Another file of that name is replaced.
func (fs *FS) AddFile(path string, data []byte, mode uint32) syscall.Errno {
	if data == nil {
		data = []byte{}
	}
	n := &node{mode: ModeRegular | mode&modeBits, file: content{size: int64(len(data)), fixed: data}}
	return fs.add(path, n)
}

// AddDevice adds a character device. What it does is up to who opens it: the
// number is in Stat. Like an added file it is not charged.
func (fs *FS) AddDevice(path string, number uint64, mode uint32) syscall.Errno {
	return fs.add(path, &node{mode: ModeChar | mode&modeBits, device: number})
}

// AddSymlink adds a symbolic link that is not charged.
func (fs *FS) AddSymlink(path, target string) syscall.Errno {
	if target == "" || len(target) > maxPath {
		return syscall.EINVAL
	}
	return fs.add(path, &node{mode: ModeSymlink | 0o777, target: target})
}

// AddDir adds a directory that is not charged, with those above it, or sets the
// permissions of one that exists.
func (fs *FS) AddDir(path string, mode uint32) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(path) > maxPath {
		return syscall.ENAMETOOLONG
	}
	dir, err := fs.parents(path + "/.")
	if err != 0 {
		return err
	}
	dir.mode = ModeDir | mode&modeBits
	return 0
}

// add gives a node a name.
func (fs *FS) add(path string, n *node) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(path) > maxPath {
		return syscall.ENAMETOOLONG
	}
	dir, err := fs.parents(path)
	if err != 0 {
		return err
	}
	name := path
	for i := range len(path) {
		if path[i] == '/' {
			name = path[i+1:]
		}
	}
	switch {
	case name == "" || name == "." || name == "..":
		return syscall.EISDIR
	case len(name) > maxName:
		return syscall.ENAMETOOLONG
	}
	if e := dir.dir.names[name]; e != nil {
		if e.node.isDir() {
			return syscall.EISDIR
		}
		fs.forget(dir, e)
	}
	made := fs.makeNode(n.mode, true)
	made.file, made.target, made.device = n.file, n.target, n.device
	fs.enter(dir, name, made, true)
	return 0
}

// parents returns the directory of the last name of a path from the root. What
// is missing on the way is made.
func (fs *FS) parents(path string) (*node, syscall.Errno) {
	cur := fs.root
	for {
		name, rest, _ := part(path)
		if rest == "" {
			return cur, 0
		}
		path = rest
		switch {
		case name == "." || name == "..":
			return nil, syscall.EINVAL
		case len(name) > maxName:
			return nil, syscall.ENAMETOOLONG
		}
		if e := cur.dir.names[name]; e != nil {
			if !e.node.isDir() {
				return nil, syscall.ENOTDIR
			}
			cur = e.node
			continue
		}
		dir := fs.makeNode(ModeDir|0o755, true)
		fs.enter(cur, name, dir, true)
		cur = dir
	}
}
