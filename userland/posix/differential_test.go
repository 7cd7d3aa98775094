package posix_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/userland/posix"
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
	p.sys = [2]caller{{t, (*posix.Process)(nil)}, newProcess(t, nil)}
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

// Every operation on every kind of name.
func TestEveryNameLikeLinux(t *testing.T) {
	names := []string{
		"file", "file/", "file/x", "file/.", "file/..", "dir", "dir/", "dir/.", "dir/..", "full", "full/", "full/f", "full//f", "none", "none/", "none/x",
		"link", "link/", "linkdir", "linkdir/", "linkdir/f", "linkdir/.", "dangling", "dangling/", "loop", "loop/", "loop/x", "ups",
		"slashed", "tofile/", ".", "./", "..", "../", "", "hard", strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("d/", 2100),
	}
	setup := func(p *pair) {
		p.open("file", syscall.O_CREAT|syscall.O_RDWR)
		p.write(syscall.SYS_WRITE, 0, "data", 0)
		p.close(0)
		p.mkdir("dir")
		p.mkdir("full")
		p.open("full/f", syscall.O_CREAT|syscall.O_RDWR)
		p.close(0)
		for link, target := range map[string]string{
			"link": "file", "linkdir": "full", "dangling": "gone", "loop": "loop", "ups": "../4/full", "slashed": "full/", "tofile": "file/",
		} {
			p.symlink(target, link)
		}
		p.link("file", "hard", 0)
		p.log = nil
	}
	ops := map[string]func(p *pair, name string){
		"mkdir":    func(p *pair, name string) { p.mkdir(name) },
		"rmdir":    func(p *pair, name string) { p.rmdir(name) },
		"unlink":   func(p *pair, name string) { p.unlink(name) },
		"symlink":  func(p *pair, name string) { p.symlink("file", name) },
		"readlink": func(p *pair, name string) { p.readlink(name) },
		"stat":     func(p *pair, name string) { p.stat(name, 0); p.stat(name, 0x100) },
		"stat at":  func(p *pair, name string) { p.stat(name, 0x1000); p.stat(name, 0x4) },
		"access": func(p *pair, name string) {
			p.at(syscall.SYS_FACCESSAT, "access", name, 0)
			p.at(sysFaccess2, "access", name, 4, 0x100)
			p.at(sysFaccess2, "access", name, 4, 0x4)
		},
		"chmod": func(p *pair, name string) {
			p.at(syscall.SYS_FCHMODAT, "chmod", name, 0o755)
			p.at(sysFchmodat2, "chmod", name, 0o700, 0x100)
		},
		"utimes": func(p *pair, name string) {
			p.at(syscall.SYS_UTIMENSAT, "utimes", name, 0, 0)
			p.at(syscall.SYS_UTIMENSAT, "utimes", name, 0, 0x100)
		},
		"link from": func(p *pair, name string) { p.link(name, "new", 0) },
		"link to":   func(p *pair, name string) { p.link("file", name, 0) },
		"follow":    func(p *pair, name string) { p.link(name, "new", 0x400) },
	}
	for _, flags := range []int{
		0, syscall.O_WRONLY, syscall.O_DIRECTORY, syscall.O_NOFOLLOW, syscall.O_DIRECTORY | syscall.O_NOFOLLOW, syscall.O_TRUNC, syscall.O_RDWR | syscall.O_TRUNC,
		syscall.O_CREAT, syscall.O_CREAT | syscall.O_EXCL, syscall.O_CREAT | syscall.O_RDWR | syscall.O_TRUNC, syscall.O_CREAT | syscall.O_NOFOLLOW,
		syscall.O_CREAT | syscall.O_DIRECTORY, 0x200000, 0x200000 | syscall.O_NOFOLLOW, 0x200000 | syscall.O_NOFOLLOW | syscall.O_DIRECTORY,
	} {
		ops[fmt.Sprintf("open %#x", flags)] = func(p *pair, name string) {
			if p.open(name, flags); len(p.fds[0]) > 0 {
				p.on(syscall.SYS_FCNTL, "flags", 0, syscall.F_GETFL)
				p.on(syscall.SYS_FTRUNCATE, "ftruncate", 0, 2)
				p.write(syscall.SYS_WRITE, 0, "xyz", 0)
				p.read(syscall.SYS_READ, 0, 10, 0)
			}
		}
	}
	for _, other := range []string{"file", "dir", "full", "full/f", "full/new", "link", "linkdir", "hard", "none", "new/", "dir/", ".", "linkdir/", "dir/x/y"} {
		for _, flags := range []uintptr{0, 1} {
			ops[fmt.Sprint("rename to ", other, flags)] = func(p *pair, name string) { p.rename(name, other, flags) }
			ops[fmt.Sprint("rename from ", other, flags)] = func(p *pair, name string) { p.rename(other, name, flags) }
		}
	}
	for what, op := range ops {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for _, name := range names {
				t.Run(name[:min(len(name), 20)], func(t *testing.T) {
					p := newPair(t)
					setup(p)
					op(p, name)
					p.sameTrees()
				})
			}
		})
	}
}

// Random operations on few names.
func TestRandomOperationsLikeLinux(t *testing.T) {
	rounds := uint64(60)
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			p, rnd := newPair(t), rand.New(rand.NewPCG(seed, 4))
			name := func(ups bool) string {
				parts := []string{"a", "b", "c", "d", ".", ".."}
				if !ups {
					parts = parts[:4]
				}
				path := ""
				for range 1 + rnd.IntN(3) {
					path += parts[rnd.IntN(len(parts))] + "/"
				}
				if rnd.IntN(8) > 0 {
					path = path[:len(path)-1]
				}
				return path
			}
			for range 300 {
				if !randomStep(p, rnd, name) {
					return
				}
			}
			p.sameTrees()
		})
	}
}

func randomStep(p *pair, rnd *rand.Rand, name func(ups bool) string) bool {
	switch rnd.IntN(14) {
	case 0, 1:
		return p.mkdir(name(true))
	case 2:
		return p.rmdir(name(true))
	case 3:
		return p.unlink(name(true))
	case 4:
		return p.symlink(name(false), name(true))
	case 5:
		return p.link(name(true), name(true), uintptr(rnd.IntN(2)*0x400))
	case 6, 7:
		return p.rename(name(true), name(true), uintptr(rnd.IntN(2)))
	case 8:
		return p.stat(name(true), uintptr(rnd.IntN(2)*0x100)) && p.readlink(name(true))
	case 9:
		if len(p.fds[0]) > 5 {
			return p.close(rnd.IntN(len(p.fds[0])))
		}
		flags := []int{syscall.O_RDONLY, syscall.O_WRONLY, syscall.O_RDWR, 0x200000}[rnd.IntN(4)]
		for _, f := range []int{syscall.O_CREAT, syscall.O_EXCL, syscall.O_TRUNC, syscall.O_APPEND, syscall.O_NOFOLLOW} {
			if rnd.IntN(3) == 0 {
				flags |= f
			}
		}
		return p.open(name(true), flags)
	}
	if len(p.fds[0]) == 0 {
		return p.open(name(true), syscall.O_CREAT|syscall.O_RDWR)
	}
	i, off := rnd.IntN(len(p.fds[0])), uintptr(rnd.IntN(10000)-10)
	data := strings.Repeat(string(rune('a'+rnd.IntN(26))), rnd.IntN(9000))
	switch rnd.IntN(6) {
	case 0:
		return p.read(syscall.SYS_READ, i, rnd.IntN(9000), 0)
	case 1:
		return p.read(syscall.SYS_PREAD64, i, rnd.IntN(9000), off)
	case 2:
		return p.write(syscall.SYS_WRITE, i, data, 0)
	case 3:
		return p.write(syscall.SYS_PWRITE64, i, data, off)
	case 4:
		return p.on(syscall.SYS_FTRUNCATE, "ftruncate", i, off)
	}
	if s, _ := p.sys[0].stat(p.fds[0][i], "", 0x1000); s.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return true // offsets in directories are its own
	}
	return p.on(syscall.SYS_LSEEK, "lseek", i, off, []uintptr{0, 1, 2, 9}[rnd.IntN(4)])
}
