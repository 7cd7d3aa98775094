package posix

import "syscall"

// Numbers of calls that are newer than those in package syscall.
const (
	sysSchedGetaffinity = 204
	sysRenameat2        = 316
	sysGetrandom        = 318
	sysMemfdCreate      = 319
	sysExecveat         = 322
	sysCopyFileRange    = 326
	sysStatx            = 332
	sysPidfdSendSignal  = 424
	sysPidfdOpen        = 434
	sysClone3           = 435
	sysOpenat2          = 437
	sysFaccessat2       = 439
	sysFchmodat2        = 452
)

// calls holds what answers a call, by its number.
var calls = [...]func(*Process, args) (uintptr, syscall.Errno){
	// rw.go
	syscall.SYS_READ:      (*Process).sysRead,
	syscall.SYS_WRITE:     (*Process).sysWrite,
	syscall.SYS_PREAD64:   (*Process).sysPread,
	syscall.SYS_PWRITE64:  (*Process).sysPwrite,
	syscall.SYS_READV:     (*Process).sysReadv,
	syscall.SYS_WRITEV:    (*Process).sysWritev,
	syscall.SYS_LSEEK:     (*Process).sysLseek,
	syscall.SYS_TRUNCATE:  (*Process).sysTruncate,
	syscall.SYS_FTRUNCATE: (*Process).sysFtruncate,
	syscall.SYS_FSYNC:     (*Process).sysFsync,
	syscall.SYS_FDATASYNC: (*Process).sysFsync,
	syscall.SYS_SYNC:      succeed,

	// open.go
	syscall.SYS_OPEN:   (*Process).sysOpen,
	syscall.SYS_OPENAT: (*Process).sysOpenat,
	syscall.SYS_CREAT:  (*Process).sysCreat,
	syscall.SYS_CLOSE:  (*Process).sysClose,
	syscall.SYS_PIPE:   (*Process).sysPipe,
	syscall.SYS_PIPE2:  (*Process).sysPipe2,

	// descriptor.go
	syscall.SYS_DUP:   (*Process).sysDup,
	syscall.SYS_DUP2:  (*Process).sysDup2,
	syscall.SYS_DUP3:  (*Process).sysDup3,
	syscall.SYS_FCNTL: (*Process).sysFcntl,
	syscall.SYS_IOCTL: (*Process).sysIoctl,
	syscall.SYS_FLOCK: (*Process).sysFlock,

	// stat.go
	syscall.SYS_STAT:       (*Process).sysStat,
	syscall.SYS_LSTAT:      (*Process).sysLstat,
	syscall.SYS_FSTAT:      (*Process).sysFstat,
	syscall.SYS_NEWFSTATAT: (*Process).sysNewfstatat,
	syscall.SYS_ACCESS:     (*Process).sysAccess,
	syscall.SYS_FACCESSAT:  (*Process).sysFaccessat,
	sysFaccessat2:          (*Process).sysFaccessat2,
	syscall.SYS_GETDENTS64: (*Process).sysGetdents64,

	// names.go
	syscall.SYS_MKDIR:      (*Process).sysMkdir,
	syscall.SYS_MKDIRAT:    (*Process).sysMkdirat,
	syscall.SYS_RMDIR:      (*Process).sysRmdir,
	syscall.SYS_UNLINK:     (*Process).sysUnlink,
	syscall.SYS_UNLINKAT:   (*Process).sysUnlinkat,
	syscall.SYS_RENAME:     (*Process).sysRename,
	syscall.SYS_RENAMEAT:   (*Process).sysRenameat,
	sysRenameat2:           (*Process).sysRenameat2,
	syscall.SYS_LINK:       (*Process).sysLink,
	syscall.SYS_LINKAT:     (*Process).sysLinkat,
	syscall.SYS_SYMLINK:    (*Process).sysSymlink,
	syscall.SYS_SYMLINKAT:  (*Process).sysSymlinkat,
	syscall.SYS_READLINK:   (*Process).sysReadlink,
	syscall.SYS_READLINKAT: (*Process).sysReadlinkat,
	syscall.SYS_MKNOD:      refuse(syscall.EPERM),
	syscall.SYS_MKNODAT:    refuse(syscall.EPERM),

	// attr.go
	syscall.SYS_CHMOD:     (*Process).sysChmod,
	syscall.SYS_FCHMOD:    (*Process).sysFchmod,
	syscall.SYS_FCHMODAT:  (*Process).sysFchmodat,
	sysFchmodat2:          (*Process).sysFchmodat2,
	syscall.SYS_CHOWN:     (*Process).sysChown,
	syscall.SYS_LCHOWN:    (*Process).sysLchown,
	syscall.SYS_FCHOWN:    (*Process).sysFchown,
	syscall.SYS_FCHOWNAT:  (*Process).sysFchownat,
	syscall.SYS_UTIMENSAT: (*Process).sysUtimensat,
	syscall.SYS_UTIMES:    (*Process).sysUtimes,
	syscall.SYS_FUTIMESAT: (*Process).sysFutimesat,

	// cwd.go
	syscall.SYS_GETCWD: (*Process).sysGetcwd,
	syscall.SYS_CHDIR:  (*Process).sysChdir,
	syscall.SYS_FCHDIR: (*Process).sysFchdir,
	syscall.SYS_UMASK:  (*Process).sysUmask,

	// self.go
	syscall.SYS_GETPID:     (*Process).sysGetpid,
	syscall.SYS_GETTID:     (*Process).sysGetpid,
	syscall.SYS_GETPPID:    succeed,
	syscall.SYS_GETUID:     succeed,
	syscall.SYS_GETEUID:    succeed,
	syscall.SYS_GETGID:     succeed,
	syscall.SYS_GETEGID:    succeed,
	syscall.SYS_GETGROUPS:  succeed,
	syscall.SYS_UNAME:      (*Process).sysUname,
	syscall.SYS_GETRLIMIT:  (*Process).sysGetrlimit,
	syscall.SYS_SETRLIMIT:  (*Process).sysSetrlimit,
	syscall.SYS_PRLIMIT64:  (*Process).sysPrlimit64,
	sysSchedGetaffinity:    (*Process).sysSchedGetaffinity,
	sysGetrandom:           (*Process).sysGetrandom,
	syscall.SYS_EXIT:       (*Process).sysExit,
	syscall.SYS_EXIT_GROUP: (*Process).sysExit,
	syscall.SYS_KILL:       (*Process).sysKill,
	syscall.SYS_TKILL:      (*Process).sysKill,
	syscall.SYS_TGKILL:     (*Process).sysTgkill,

	// clock.go
	syscall.SYS_CLOCK_GETTIME: (*Process).sysClockGettime,
	syscall.SYS_GETTIMEOFDAY:  (*Process).sysGettimeofday,
	syscall.SYS_TIME:          (*Process).sysTime,
	syscall.SYS_NANOSLEEP:     (*Process).sysNanosleep,

	// Package os copies in another way after these errors.
	sysCopyFileRange:     refuse(syscall.ENOSYS),
	syscall.SYS_SENDFILE: refuse(syscall.EINVAL),
	syscall.SYS_SPLICE:   refuse(syscall.EINVAL),
	syscall.SYS_TEE:      refuse(syscall.EINVAL),

	// The older calls are used instead.
	sysOpenat2: refuse(syscall.ENOSYS),
	sysStatx:   refuse(syscall.ENOSYS),

	// There is one process.
	syscall.SYS_CLONE:  refuse(syscall.ENOSYS),
	syscall.SYS_FORK:   refuse(syscall.ENOSYS),
	syscall.SYS_VFORK:  refuse(syscall.ENOSYS),
	syscall.SYS_EXECVE: refuse(syscall.ENOSYS),
	syscall.SYS_WAIT4:  refuse(syscall.ENOSYS),
	syscall.SYS_WAITID: refuse(syscall.ENOSYS),
	syscall.SYS_PTRACE: refuse(syscall.ENOSYS),
	sysExecveat:        refuse(syscall.ENOSYS),
	sysClone3:          refuse(syscall.ENOSYS),
	sysPidfdOpen:       refuse(syscall.ENOSYS),
	sysPidfdSendSignal: refuse(syscall.ENOSYS),

	// socket.go
	syscall.SYS_SOCKET:      (*Process).sysSocket,
	syscall.SYS_BIND:        (*Process).sysBind,
	syscall.SYS_LISTEN:      (*Process).sysListen,
	syscall.SYS_ACCEPT:      (*Process).sysAccept,
	syscall.SYS_ACCEPT4:     (*Process).sysAccept4,
	syscall.SYS_CONNECT:     (*Process).sysConnect,
	syscall.SYS_GETSOCKNAME: (*Process).sysGetsockname,
	syscall.SYS_GETPEERNAME: (*Process).sysGetpeername,
	syscall.SYS_SHUTDOWN:    (*Process).sysShutdown,
	syscall.SYS_SETSOCKOPT:  (*Process).sysSetsockopt,
	syscall.SYS_GETSOCKOPT:  (*Process).sysGetsockopt,

	// message.go
	syscall.SYS_SENDTO:   (*Process).sysSendto,
	syscall.SYS_RECVFROM: (*Process).sysRecvfrom,
	syscall.SYS_SENDMSG:  (*Process).sysSendmsg,
	syscall.SYS_RECVMSG:  (*Process).sysRecvmsg,

	// The runtime has a poller of its own (poll.go), and there are no mappings.
	syscall.SYS_EPOLL_CREATE:  refuse(syscall.ENOSYS),
	syscall.SYS_EPOLL_CREATE1: refuse(syscall.ENOSYS),
	syscall.SYS_EPOLL_CTL:     refuse(syscall.ENOSYS),
	syscall.SYS_EPOLL_WAIT:    refuse(syscall.ENOSYS),
	syscall.SYS_EPOLL_PWAIT:   refuse(syscall.ENOSYS),
	syscall.SYS_EVENTFD:       refuse(syscall.ENOSYS),
	syscall.SYS_EVENTFD2:      refuse(syscall.ENOSYS),
	syscall.SYS_SOCKETPAIR:    refuse(syscall.EAFNOSUPPORT),
	syscall.SYS_MMAP:          (*Process).sysMmap,
	syscall.SYS_MUNMAP:        refuse(syscall.ENOSYS),
	syscall.SYS_MPROTECT:      refuse(syscall.ENOSYS),
	sysMemfdCreate:            refuse(syscall.ENOSYS),
}

func succeed(*Process, args) (uintptr, syscall.Errno) { return 0, 0 }

func refuse(err syscall.Errno) func(*Process, args) (uintptr, syscall.Errno) {
	return func(*Process, args) (uintptr, syscall.Errno) { return 0, err }
}

func (p *Process) sysMmap(a args) (uintptr, syscall.Errno) {
	if a[3]&syscall.MAP_ANONYMOUS != 0 {
		return 0, syscall.ENOMEM
	}
	return 0, syscall.ENOSYS
}
