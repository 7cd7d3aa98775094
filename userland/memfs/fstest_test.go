package memfs

import (
	"io"
	"io/fs"
	"path"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// adapter shows a file system as an fs.FS.
type adapter struct{ *FS }

func (a adapter) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	h, errno := a.FS.Open(nil, "/"+name, OReadOnly, 0)
	if errno != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errno}
	}
	return &file{h, name}, nil
}

type file struct {
	h    *Handle
	name string
}

func (f *file) Close() error { f.h.Close(); return nil }

func (f *file) Stat() (fs.FileInfo, error) { return info{path.Base(f.name), f.h.Stat()}, nil }

func (f *file) Read(p []byte) (int, error) {
	n, errno := f.h.Read(p)
	return n, ioError(n, len(p), errno)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, errno := f.h.ReadAt(p, off)
	if errno == 0 && n < len(p) {
		return n, io.EOF
	}
	return n, ioError(n, len(p), errno)
}

func (f *file) Seek(off int64, whence int) (int64, error) {
	off, errno := f.h.SeekTo(off, whence)
	return off, ioError(1, 0, errno)
}

func (f *file) ReadDir(n int) (list []fs.DirEntry, err error) {
	var entries []DirEntry
	errno := f.h.ReadDir(func(e DirEntry) bool {
		if n > 0 && len(entries) == n {
			return false
		}
		if e.Name != "." && e.Name != ".." {
			entries = append(entries, e)
		}
		return true
	})
	for _, e := range entries {
		s, errno := f.h.fs.Stat(f.h, e.Name, false)
		if errno != 0 {
			return list, errno
		}
		list = append(list, fs.FileInfoToDirEntry(info{e.Name, s}))
	}
	if n > 0 && len(list) == 0 && errno == 0 {
		return nil, io.EOF
	}
	return list, ioError(1, 0, errno)
}

func ioError(n, wanted int, errno syscall.Errno) error {
	switch {
	case errno != 0:
		return errno
	case n == 0 && wanted > 0:
		return io.EOF
	}
	return nil
}

type info struct {
	name string
	s    Stat
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.s.Size }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return nil }
func (i info) ModTime() time.Time { return time.Unix(i.s.Mtime.Sec, i.s.Mtime.Nsec) }
func (i info) Mode() fs.FileMode {
	mode := fs.FileMode(i.s.Mode & 0o777)
	switch i.s.Mode & ModeType {
	case ModeDir:
		mode |= fs.ModeDir
	case ModeSymlink:
		mode |= fs.ModeSymlink
	}
	return mode
}

func TestFS(t *testing.T) {
	m := newFS(t, 1<<20)
	want(t, m.AddFile("/image/file", []byte("bytes of the image"), 0o444), 0)
	want(t, m.Mkdir(nil, "/dir", 0o755), 0)
	want(t, m.Mkdir(nil, "/dir/empty", 0o700), 0)
	write(t, m, "/dir/file", "hello")
	write(t, m, "/dir/long", string(make([]byte, 100<<10)))
	if err := fstest.TestFS(adapter{m}, "image/file", "dir/file", "dir/long", "dir/empty"); err != nil {
		t.Error(err)
	}
}
