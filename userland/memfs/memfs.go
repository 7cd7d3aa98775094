// Package memfs is a file system in memory: directories, regular files with
// holes, symbolic and hard links, and files whose bytes lie elsewhere, such as
// in the image that the program came from. It follows Linux in what its
// operations do and in which error they give; every error is a
// [syscall.Errno], and 0 means success.
//
// What a program creates is charged to a quota. A name costs [NameCost], a node
// [NodeCost], the target of a symbolic link its length, and file data what its
// chunks take: 4 KiB each in the first 64 KiB of a file, 64 KiB each
// after that. Beyond the quota operations give ENOSPC. What the methods
// beginning with Add make is not charged.
//
// Modes and owners are kept and reported, but nothing is refused for them: there
// is one user. Opening a file of the image for writing gives EROFS. Reading does
// not change access times.
//
// The package is compiled into the standard library below package os, so it
// imports next to nothing. All methods may be called by several goroutines.
package memfs

import (
	"sync"
	"syscall"
)

const (
	// NodeCost is what a file, directory or symbolic link is charged for
	// being there.
	NodeCost = 256
	// NameCost is what an entry of a directory is charged: an upper bound of
	// the memory for a name of 255 bytes.
	NameCost = 384

	maxName  = 255
	maxPath  = 4095 // without the NUL that Linux counts
	maxLinks = 40   // symbolic links on one path
	maxSize  = 1 << 62
)

// FS is a file system. One lock guards all of it: no operation waits for
// anything while it holds the lock.
type FS struct {
	clock func() (sec, nsec int64)

	mu    sync.Mutex
	root  *node
	quota int64
	used  int64
	ino   uint64
}

// New returns a file system with nothing but a root directory, which is not
// charged. The quota is in bytes. The clock gives the time since 1970; it must
// not call the file system.
func New(quota int64, clock func() (sec, nsec int64)) *FS {
	fs := &FS{clock: clock, quota: quota}
	fs.root = fs.makeNode(ModeDir|0o755, true)
	fs.root.dir.parent = fs.root
	fs.root.nlink = 2
	return fs
}

// Usage returns how many bytes are charged, and the quota.
func (fs *FS) Usage() (used, quota int64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.used, fs.quota
}

// charge takes n bytes of the quota.
func (fs *FS) charge(n int64) syscall.Errno {
	if n > fs.quota-fs.used {
		return syscall.ENOSPC
	}
	fs.used += n
	return 0
}

func (fs *FS) release(n int64) { fs.used -= n }

func (fs *FS) now() Time {
	sec, nsec := fs.clock()
	return Time{sec, nsec}
}
