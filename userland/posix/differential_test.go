package posix_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

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
			if flags != 0 && !slices.Contains([]string{"file", "none", ".", "dir/"}, other) {
				continue
			}
			ops[fmt.Sprint("rename to ", other, flags)] = func(p *pair, name string) { p.rename(name, other, flags) }
			ops[fmt.Sprint("rename from ", other, flags)] = func(p *pair, name string) { p.rename(other, name, flags) }
		}
	}
	for what, op := range ops {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for i, name := range names {
				if testing.Short() && i%4 > 0 {
					continue
				}
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
