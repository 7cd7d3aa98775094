package netns

import (
	"errors"
	"syscall"
	"testing"
)

// TestErrno (restricted_port is EADDRNOTAVAIL): each mistake has its number for programs.
func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{ErrInUse, syscall.EADDRINUSE},
		{ErrExists, syscall.EEXIST},
		{ErrNoPort, syscall.EADDRNOTAVAIL},
		{ErrRestricted, syscall.EADDRNOTAVAIL},
		{ErrAddress, syscall.EADDRNOTAVAIL},
		{ErrProtocol, syscall.EEXIST},
		{ErrDenied, syscall.EACCES},
		{ErrTableFull, syscall.ENOMEM},
		{ErrOwnerLimit, syscall.ENOMEM},
		{ErrInvalid, syscall.EINVAL},
		{ErrConnected, syscall.EISCONN},
		{ErrReleased, syscall.ENOENT},
		{ErrWord, syscall.EINVAL},
		{malformed("listen", "x"), syscall.EINVAL},
		{syscall.EHOSTUNREACH, syscall.EHOSTUNREACH},
		{errors.New("x"), syscall.EIO},
	} {
		if got := Errno(c.err); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
	if len(errnos) != 13 {
		t.Errorf("%d errors have a number, and 13 are tested", len(errnos))
	}
}
