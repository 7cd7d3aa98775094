package memfs

import "syscall"

// found is where a path leads.
type found struct {
	dir   *node  // the directory of the last name; nil if there is no such name
	name  string // the last name; "" if the path ends in "/", "." or ".."
	node  *node  // nil if there is nothing of that name
	slash bool   // the path ends in a slash after the name
	dots  string // the last part if it is "." or ".."
}

// missing says why there is no node.
func (f *found) missing() syscall.Errno {
	if len(f.name) > maxName {
		return syscall.ENAMETOOLONG
	}
	return syscall.ENOENT
}

// entry returns the entry that the path leads to.
func (f *found) entry() *entry { return f.dir.dir.names[f.name] }

// start returns the node that a path begins at: the root, or what at stands for.
// A nil handle stands for the root.
func (fs *FS) start(at *Handle, path string) (*node, syscall.Errno) {
	switch {
	case path == "":
		return nil, syscall.ENOENT
	case len(path) > maxPath:
		return nil, syscall.ENAMETOOLONG
	case path[0] == '/' || at == nil:
		return fs.root, 0
	case !at.node.isDir():
		return nil, syscall.ENOTDIR
	}
	return at.node, 0
}

// ending is what walk does at the end of a path.
type ending struct {
	follow bool // follow a symbolic link
	noDir  bool // what has a slash after its name gives EISDIR
}

// walk follows a path. That the last name does not exist is no error.
func (fs *FS) walk(at *Handle, path string, end ending) (f found, err syscall.Errno) {
	cur, err := fs.start(at, path)
	if err != 0 {
		return f, err
	}
	links := 0
	for {
		var name string
		name, path, f.slash = part(path)
		if name == "" { // no more than slashes: the root
			return found{node: cur}, 0
		}
		last := path == ""
		if !cur.isDir() {
			return f, syscall.ENOTDIR
		}
		if name == "." || name == ".." {
			if name == ".." && cur.dir.parent != nil {
				cur = cur.dir.parent
			}
			if last {
				return found{node: cur, dots: name, slash: f.slash}, 0
			}
			continue
		}
		switch {
		case last && f.slash && end.noDir:
			return f, syscall.EISDIR
		case !last && len(name) > maxName:
			return f, syscall.ENAMETOOLONG
		}
		var next *node
		if e := cur.dir.names[name]; e != nil {
			next = e.node
		}
		if next != nil && next.isSymlink() && (!last || end.follow) {
			if links++; links > maxLinks {
				return f, syscall.ELOOP
			}
			if next.target[0] == '/' {
				cur = fs.root
			}
			switch {
			case !last:
				path = next.target + "/" + path
			case f.slash:
				path = next.target + "/"
			default:
				path = next.target
			}
			continue
		}
		if last {
			return found{dir: cur, name: name, node: next, slash: f.slash}, 0
		}
		if next == nil {
			return f, syscall.ENOENT
		}
		cur = next
	}
}

// part splits a path after its first name. The slashes that follow the name go
// with it; slash says that there were some.
func part(path string) (name, rest string, slash bool) {
	i := 0
	for i < len(path) && path[i] == '/' {
		i++
	}
	j := i
	for j < len(path) && path[j] != '/' {
		j++
	}
	k := j
	for k < len(path) && path[k] == '/' {
		k++
	}
	return path[i:j], path[k:], k > j
}

// lookup follows a path to a node that exists. After a slash it must be a
// directory, and a symbolic link before a slash is followed always.
func (fs *FS) lookup(at *Handle, path string, follow bool) (*node, syscall.Errno) {
	if path != "" && path[len(path)-1] == '/' {
		follow = true
	}
	f, err := fs.walk(at, path, ending{follow: follow})
	switch {
	case err != 0:
		return nil, err
	case f.node == nil:
		return nil, f.missing()
	case f.slash && !f.node.isDir():
		return nil, syscall.ENOTDIR
	}
	return f.node, 0
}

// vacant follows a path to a name that does not exist yet, in a directory that
// does. After a slash only a directory may come to be.
func (fs *FS) vacant(at *Handle, path string, dir bool) (found, syscall.Errno) {
	f, err := fs.walk(at, path, ending{})
	switch {
	case err != 0:
		return f, err
	case f.node != nil:
		return f, syscall.EEXIST
	case len(f.name) > maxName:
		return f, syscall.ENAMETOOLONG
	case f.dir.dir.parent == nil:
		return f, syscall.ENOENT
	case f.slash && !dir:
		return f, syscall.ENOENT
	}
	return f, 0
}
