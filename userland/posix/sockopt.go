package posix

import "syscall"

// Calls that set and get options of sockets.

func (p *Process) sysSetsockopt(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if int32(a[4]) < 0 || a[4] > 1024 {
		return 0, syscall.EINVAL
	}
	value, err := memory(a[3], a[4])
	if err != 0 {
		return 0, err
	}
	return 0, s.SetOption(a.int(1), a.int(2), value)
}

func (p *Process) sysGetsockopt(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	length, err := array[uint32](a[4], 1)
	if err != 0 {
		return 0, err
	}
	room := int32(length[0])
	if room < 0 {
		return 0, syscall.EINVAL
	}
	value, err := s.Option(a.int(1), a.int(2))
	if err != 0 {
		return 0, err
	}
	value = value[:min(len(value), int(room))]
	return 0, putBytes(value, a[3], &length[0])
}
