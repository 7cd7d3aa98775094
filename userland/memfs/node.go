package memfs

// Time is a moment since 1970.
type Time struct{ Sec, Nsec int64 }

// Stat describes a node.
type Stat struct {
	Ino    uint64
	Mode   uint32
	Nlink  uint32
	UID    uint32
	GID    uint32
	Size   int64
	Blocks int64  // of 512 bytes, as charged
	Device uint64 // of a device: what AddDevice was given

	Atime, Mtime, Ctime Time

	ReadOnly bool // a file of the image
}

// node is a file, directory, symbolic link or device.
type node struct {
	ino   uint64
	mode  uint32 // kind and permissions
	nlink uint32 // names; for a directory also "." and the ".." of its children
	uid   uint32
	gid   uint32
	opens int  // handles
	free  bool // not charged

	atime, mtime, ctime Time

	file   content   // regular file
	dir    directory // directory
	target string    // symbolic link
	device uint64    // device
}

// makeNode returns a node without names. The caller has charged it, or it is
// free.
func (fs *FS) makeNode(mode uint32, free bool) *node {
	fs.ino++
	now := fs.now()
	return &node{ino: fs.ino, mode: mode, free: free, atime: now, mtime: now, ctime: now}
}

func (n *node) kind() uint32    { return n.mode & ModeType }
func (n *node) isDir() bool     { return n.kind() == ModeDir }
func (n *node) isRegular() bool { return n.kind() == ModeRegular }
func (n *node) isSymlink() bool { return n.kind() == ModeSymlink }

// cost is what the node is charged without its names and data.
func (n *node) cost() int64 {
	if n.free {
		return 0
	}
	return NodeCost + int64(len(n.target))
}

// drop frees the node when neither a name nor a handle is left.
func (fs *FS) drop(n *node) {
	if n.nlink == 0 && n.opens == 0 {
		fs.resize(&n.file, 0)
		fs.release(n.cost())
	}
}

// changed notes that the data of the node is new.
func (fs *FS) changed(n *node) {
	n.mtime = fs.now()
	n.ctime = n.mtime
}

func (n *node) stat() Stat {
	s := Stat{
		Ino: n.ino, Mode: n.mode, Nlink: n.nlink, UID: n.uid, GID: n.gid, Device: n.device,
		Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime,
	}
	switch n.kind() {
	case ModeRegular:
		s.Size, s.Blocks, s.ReadOnly = n.file.size, n.file.charged/512, n.file.fixed != nil
	case ModeDir:
		s.Size = int64(len(n.dir.names)) * NameCost
	case ModeSymlink:
		s.Size = int64(len(n.target))
	}
	return s
}
