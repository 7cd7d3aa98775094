package posix_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// pair has a directory on Linux and one in a Process, where the same is done.
type pair struct {
	t    testing.TB
	sys  [2]caller
	base [2]uintptr
	fds  [2][]uintptr
	log  []string
}

func newPair(t testing.TB) *pair {
	p := &pair{t: t}
	p.sys = [2]caller{{t, nil}, newProcess(t, nil)}
	for i, root := range []string{t.TempDir(), "/tmp"} {
		// Paths of the tests go up three times at most.
		dir := root
		for _, name := range []string{"1", "2", "3", "4"} {
			dir += "/" + name
			p.sys[i].must(syscall.SYS_MKDIRAT, atCwd, str(dir), 0o755)
		}
		p.base[i] = p.sys[i].open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY)
	}
	t.Cleanup(func() {
		for i := range p.sys {
			for _, fd := range append(p.fds[i], p.base[i]) {
				p.sys[i].call(syscall.SYS_CLOSE, fd)
			}
		}
	})
	return p
}

// both makes a call on both sides and compares what they give.
func (p *pair) both(what string, f func(c caller, base uintptr, fds []uintptr) (any, syscall.Errno)) (syscall.Errno, bool) {
	p.t.Helper()
	var results [2]any
	var errs [2]syscall.Errno
	for i, c := range p.sys {
		results[i], errs[i] = f(c, p.base[i], p.fds[i])
	}
	p.log = append(p.log, fmt.Sprintf("%s: %v, %v", what, results[0], errs[0]))
	if errs[0] != errs[1] || errs[0] == 0 && results[0] != results[1] {
		p.t.Errorf("Linux: %s\nhere: %v, %v", strings.Join(p.log, "\n"), results[1], errs[1])
		return errs[0], false
	}
	return errs[0], true
}

func (p *pair) at(num uintptr, name string, path string, rest ...uintptr) bool {
	p.t.Helper()
	_, ok := p.both(fmt.Sprint(name, " ", path, " ", rest), func(c caller, base uintptr, _ []uintptr) (any, syscall.Errno) {
		return c.call(num, append([]uintptr{base, str(path)}, rest...)...)
	})
	return ok
}

func (p *pair) mkdir(path string) bool { return p.at(syscall.SYS_MKDIRAT, "mkdir", path, 0o755) }
func (p *pair) unlink(path string) bool {
	return p.at(syscall.SYS_UNLINKAT, "unlink", path, 0)
}
func (p *pair) rmdir(path string) bool {
	return p.at(syscall.SYS_UNLINKAT, "rmdir", path, 0x200)
}

func (p *pair) symlink(target, path string) bool {
	_, ok := p.both("symlink "+target+" "+path, func(c caller, base uintptr, _ []uintptr) (any, syscall.Errno) {
		return c.call(syscall.SYS_SYMLINKAT, str(target), base, str(path))
	})
	return ok
}

func (p *pair) link(old, path string, flags uintptr) bool {
	_, ok := p.both(fmt.Sprint("link ", old, " ", path, " ", flags), func(c caller, base uintptr, _ []uintptr) (any, syscall.Errno) {
		return c.call(syscall.SYS_LINKAT, base, str(old), base, str(path), flags)
	})
	return ok
}

func (p *pair) rename(old, path string, flags uintptr) bool {
	_, ok := p.both(fmt.Sprint("rename ", old, " ", path, " ", flags), func(c caller, base uintptr, _ []uintptr) (any, syscall.Errno) {
		return c.call(sysRenameat2, base, str(old), base, str(path), flags)
	})
	return ok
}

func (p *pair) readlink(path string) bool {
	_, ok := p.both("readlink "+path, func(c caller, base uintptr, _ []uintptr) (any, syscall.Errno) {
		b := make([]byte, 100)
		n, err := c.call(syscall.SYS_READLINKAT, base, str(path), uintptr(unsafe.Pointer(&b[0])), 100)
		if err != 0 {
			return "", err
		}
		return string(b[:n]), 0
	})
	return ok
}

func (p *pair) stat(path string, flags uintptr) bool {
	_, ok := p.both(fmt.Sprint("stat ", path, " ", flags), func(c caller, base uintptr, _ []uintptr) (any, syscall.Errno) {
		s, err := c.stat(base, path, flags)
		return show(s), err
	})
	return ok
}

// show tells of a file what does not depend on the file system.
func show(s syscall.Stat_t) string {
	if s.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return fmt.Sprintf("%o", s.Mode)
	}
	return fmt.Sprintf("%o, %d links, %d bytes", s.Mode, s.Nlink, s.Size)
}

func (p *pair) open(path string, flags int) bool {
	var fds [2]uintptr
	err, ok := p.both(fmt.Sprintf("open %s %#x", path, flags), func(c caller, base uintptr, _ []uintptr) (any, syscall.Errno) {
		fd, err := c.call(syscall.SYS_OPENAT, base, str(path), uintptr(flags), 0o644)
		fds[1] = fd
		if c.p == nil {
			fds[0] = fd
		}
		return nil, err
	})
	if err == 0 && ok {
		p.fds[0], p.fds[1] = append(p.fds[0], fds[0]), append(p.fds[1], fds[1])
	}
	return ok
}

func (p *pair) close(i int) bool {
	_, ok := p.both(fmt.Sprint("close ", i), func(c caller, _ uintptr, fds []uintptr) (any, syscall.Errno) {
		return c.call(syscall.SYS_CLOSE, fds[i])
	})
	p.fds[0], p.fds[1] = slices.Delete(p.fds[0], i, i+1), slices.Delete(p.fds[1], i, i+1)
	return ok
}

// on makes a call on open file i.
func (p *pair) on(num uintptr, name string, i int, rest ...uintptr) bool {
	_, ok := p.both(fmt.Sprint(name, " ", i, " ", rest), func(c caller, _ uintptr, fds []uintptr) (any, syscall.Errno) {
		return c.call(num, append([]uintptr{fds[i]}, rest...)...)
	})
	return ok
}

func (p *pair) read(num uintptr, i, n int, off uintptr) bool {
	_, ok := p.both(fmt.Sprint("read ", i, " ", n, " ", int(off)), func(c caller, _ uintptr, fds []uintptr) (any, syscall.Errno) {
		b := make([]byte, n+1)
		got, err := c.call(num, fds[i], uintptr(unsafe.Pointer(&b[0])), uintptr(n), off)
		if err != 0 {
			return "", err
		}
		return string(b[:got]), 0
	})
	return ok
}

func (p *pair) write(num uintptr, i int, data string, off uintptr) bool {
	_, ok := p.both(fmt.Sprint("write ", i, " ", len(data), " ", int(off)), func(c caller, _ uintptr, fds []uintptr) (any, syscall.Errno) {
		return c.call(num, fds[i], str(data), uintptr(len(data)), off)
	})
	return ok
}

// sameTrees compares all that is below the two directories.
func (p *pair) sameTrees() {
	p.t.Helper()
	var trees [2][]string
	for i, c := range p.sys {
		trees[i] = tree(c, p.base[i], "")
	}
	if !slices.Equal(trees[0], trees[1]) {
		p.t.Errorf("%s\nLinux:\n%s\nhere:\n%s", strings.Join(p.log, "\n"), strings.Join(trees[0], "\n"), strings.Join(trees[1], "\n"))
	}
}

func tree(c caller, dir uintptr, path string) (list []string) {
	fd := c.must(syscall.SYS_OPENAT, dir, str("./"+path), syscall.O_RDONLY|syscall.O_DIRECTORY)
	names := c.names(fd, 400)
	slices.Sort(names)
	for _, name := range names {
		s, err := c.stat(fd, name, 0x100)
		line := fmt.Sprint(path+name, ": ", show(s), err)
		switch s.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			f := c.must(syscall.SYS_OPENAT, fd, str(name), syscall.O_RDONLY)
			data, err := c.read(f, 1<<20)
			c.must(syscall.SYS_CLOSE, f)
			line += fmt.Sprintf(" %x %v", data, err)
		case syscall.S_IFLNK:
			b := make([]byte, 100)
			n := c.must(syscall.SYS_READLINKAT, fd, str(name), uintptr(unsafe.Pointer(&b[0])), 100)
			line += " -> " + string(b[:n])
		}
		list = append(list, line)
		if s.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			list = append(list, tree(c, dir, path+name+"/")...)
		}
	}
	c.must(syscall.SYS_CLOSE, fd)
	return list
}
