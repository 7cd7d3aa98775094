package posix

import (
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

// sysGetcwd writes the path of the working directory with a NUL, and returns how
// many bytes that is.
func (p *Process) sysGetcwd(a args) (uintptr, syscall.Errno) {
	f, err := p.directory(atCwd)
	if err != 0 {
		return 0, err
	}
	defer f.release()
	name, err := f.node.Path()
	switch {
	case err != 0:
		return 0, err
	case len(name) >= maxPath:
		return 0, syscall.ENAMETOOLONG
	case uintptr(len(name)) >= a[1]:
		return 0, syscall.ERANGE
	}
	b, err := memory(a[0], uintptr(len(name)+1))
	if err != 0 {
		return 0, err
	}
	b[copy(b, name)] = 0
	return uintptr(len(b)), 0
}

func (p *Process) sysChdir(a args) (uintptr, syscall.Errno) {
	l, err := p.place(atCwd, a[0])
	if err != 0 {
		return 0, err
	}
	defer l.done()
	h, err := p.FS.Open(l.at, l.path, memfs.OPath|memfs.ODirectory, 0)
	if err != 0 {
		return 0, err
	}
	p.setCwd(newFile(data{h}, h, memfs.OPath))
	return 0, 0
}

func (p *Process) sysFchdir(a args) (uintptr, syscall.Errno) {
	f, err := p.file(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if f.node == nil {
		return 0, syscall.ENOTDIR
	}
	h, err := p.FS.Open(f.node, ".", memfs.OPath|memfs.ODirectory, 0)
	if err != 0 {
		return 0, err
	}
	p.setCwd(newFile(data{h}, h, memfs.OPath))
	return 0, 0
}

// setCwd takes the reference of the caller.
func (p *Process) setCwd(f *file) {
	p.mu.Lock()
	old := p.cwd
	p.cwd = f
	p.mu.Unlock()
	old.release()
}

func (p *Process) sysUmask(a args) (uintptr, syscall.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.umask
	p.umask = uint32(a[0]) & 0o777
	return uintptr(old), 0
}
