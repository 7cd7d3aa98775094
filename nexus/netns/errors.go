package netns

import (
	"errors"
	"syscall"
)

// This file owns what can go wrong, and the number each mistake has for a
// program.

// Why a request is refused.
var (
	// ErrInUse says that another reservation holds the port. EADDRINUSE.
	ErrInUse = errors.New("netns: port in use")
	// ErrExists says that the owner holds this very 5-tuple. EEXIST.
	ErrExists = errors.New("netns: connection exists")
	// ErrProtocol says that another owner has the protocol. EEXIST.
	ErrProtocol = errors.New("netns: protocol of another")
	// ErrNoPort says that no ephemeral port is left. EADDRNOTAVAIL.
	ErrNoPort = errors.New("netns: no ephemeral port left")
	// ErrRestricted says that no domain may have the port. EADDRNOTAVAIL.
	ErrRestricted = errors.New("netns: restricted port")
	// ErrAddress says that the address is a group's or of loopback.
	// EADDRNOTAVAIL.
	ErrAddress = errors.New("netns: address cannot be reserved")
	// ErrDenied says that the domain's policy does not permit it. EACCES. The
	// functions of Policy return bool; this is for their callers.
	ErrDenied = errors.New("netns: not permitted by the manifest")
	// ErrTableFull says that Config.Max is reached. ENOMEM.
	ErrTableFull = errors.New("netns: table full")
	// ErrOwnerLimit says that Config.MaxPerOwner is reached. ENOMEM.
	ErrOwnerLimit = errors.New("netns: too many reservations of one owner")
	// ErrInvalid says that the request makes no sense. EINVAL.
	ErrInvalid = errors.New("netns: invalid request")
	// ErrConnected says that the reservation has a peer already. EISCONN.
	ErrConnected = errors.New("netns: already connected")
	// ErrReleased says that the reservation is gone. ENOENT.
	ErrReleased = errors.New("netns: reservation was released")
	// ErrWord says that a word of a policy is malformed. EINVAL.
	ErrWord = errors.New("netns: malformed word")
)

var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{ErrInUse, syscall.EADDRINUSE},
	{ErrExists, syscall.EEXIST},
	{ErrProtocol, syscall.EEXIST},
	{ErrNoPort, syscall.EADDRNOTAVAIL},
	{ErrRestricted, syscall.EADDRNOTAVAIL},
	{ErrAddress, syscall.EADDRNOTAVAIL},
	{ErrDenied, syscall.EACCES},
	{ErrTableFull, syscall.ENOMEM},
	{ErrOwnerLimit, syscall.ENOMEM},
	{ErrInvalid, syscall.EINVAL},
	{ErrConnected, syscall.EISCONN},
	{ErrReleased, syscall.ENOENT},
	{ErrWord, syscall.EINVAL},
}

// Errno returns the number that a program sees for err: 0 for nil, the number
// itself for an Errno, EIO for an error that is not of this package.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return n
	}
	return syscall.EIO
}
