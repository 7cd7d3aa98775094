package socket_test

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"
	"unsafe"
)

const (
	mcastJoinGroup  = 42
	mcastLeaveGroup = 45
)

// setBytes is setsockopt.
func (s *side) setBytes(fd uintptr, level, name int, b []byte) syscall.Errno {
	_, err := s.call(syscall.SYS_SETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return err
}

// mreq is struct ip_mreqn, and mreq6 struct ipv6_mreq, with the number of an interface.
func mreq(group string, nic int) []byte {
	b := append(netip.MustParseAddr(group).AsSlice(), 0, 0, 0, 0)
	return binary.NativeEndian.AppendUint32(b, uint32(nic))
}

func mreq6(group string, nic int) []byte {
	return binary.NativeEndian.AppendUint32(netip.MustParseAddr(group).AsSlice(), uint32(nic))
}

// groupReq is struct group_req.
func groupReq(group string, nic int) []byte {
	b := make([]byte, 136)
	binary.NativeEndian.PutUint32(b, uint32(nic))
	copy(b[8:], sockaddr(netip.AddrPortFrom(netip.MustParseAddr(group), 0)))
	return b
}

// TestGroupsOfTheMachine: the machine is told of groups that are not on the loopback, as
// long as somebody is in them, and a socket without a port is in them when it has one.
func TestGroupsOfTheMachine(t *testing.T) {
	const (
		join, leave   = syscall.IP_ADD_MEMBERSHIP, syscall.IP_DROP_MEMBERSHIP
		join6, leave6 = syscall.IPV6_JOIN_GROUP, syscall.IPV6_LEAVE_GROUP
	)
	n := newNames()
	s := newSide(t, n)
	s.stack.WireNIC = 2
	ok := func(err syscall.Errno) {
		t.Helper()
		if err != 0 {
			t.Error(err)
		}
	}
	a := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	ok(s.setBytes(a, syscall.IPPROTO_IP, join, mreq("224.0.0.1", 1)))
	ok(s.setBytes(a, syscall.IPPROTO_IP, join, mreq("224.0.0.250", 2)))
	n.expect(t)
	ok(s.bind(a, netip.MustParseAddrPort("0.0.0.0:5353")))
	n.expect(t, "bind 17 0.0.0.0:5353 false false", "join 5353 224.0.0.250")
	ok(s.setBytes(a, syscall.IPPROTO_IP, join, mreq("224.0.0.251", 2)))
	ok(s.setBytes(a, syscall.IPPROTO_IP, mcastJoinGroup, groupReq("224.0.0.252", 2)))
	if err := s.setBytes(a, syscall.IPPROTO_IP, join, append(mreq("224.0.0.252", 0)[:4], outside.AsSlice()...)); err != syscall.EADDRINUSE {
		t.Errorf("the same by another name: %v", err)
	}
	ok(s.setBytes(a, syscall.IPPROTO_IP, join, mreq("224.0.0.252", 1)))
	n.expect(t, "join 5353 224.0.0.251", "join 5353 224.0.0.252")
	ok(s.setBytes(a, syscall.IPPROTO_IP, leave, mreq("224.0.0.252", 1)))
	n.expect(t)
	ok(s.setBytes(a, syscall.IPPROTO_IP, leave, append(mreq("224.0.0.252", 0)[:4], outside.AsSlice()...)))
	ok(s.setBytes(a, syscall.IPPROTO_IP, mcastLeaveGroup, groupReq("224.0.0.251", 2)))
	n.expect(t, "leave 5353 224.0.0.252", "leave 5353 224.0.0.251")

	// What the machine refuses the stack is not in either.
	n.fail = syscall.EACCES
	for range 2 {
		if err := s.setBytes(a, syscall.IPPROTO_IP, join, mreq("224.0.0.9", 2)); err != syscall.EACCES {
			t.Errorf("refused: %v", err)
		}
	}
	n.expect(t, "join 5353 224.0.0.9", "join 5353 224.0.0.9")
	n.fail = 0
	s.close(a)
	n.expect(t, "release 5353")

	b := s.socket(syscall.AF_INET6, syscall.SOCK_DGRAM, 0)
	ok(s.bind(b, netip.MustParseAddrPort("[::]:5353")))
	ok(s.setBytes(b, syscall.IPPROTO_IPV6, join6, mreq6("ff02::fb", 2)))
	ok(s.setBytes(b, syscall.IPPROTO_IPV6, leave6, mreq6("ff02::fb", 2)))
	ok(s.setBytes(b, syscall.IPPROTO_IPV6, mcastJoinGroup, groupReq("ff02::fc", 2)))
	n.expect(t, "bind 17 [::]:5353 false false", "join 5353 ff02::fb", "leave 5353 ff02::fb", "join 5353 ff02::fc")

	// One of its own port that is bound to a group has the port of all addresses.
	c := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	ok(s.bind(c, netip.MustParseAddrPort("224.0.0.250:6000")))
	n.expect(t, "bind 17 0.0.0.0:6000 true false")
	if at := s.local(c); at != netip.MustParseAddrPort("224.0.0.250:6000") {
		t.Errorf("bound to %v", at)
	}
	// A group that is refused when the port is there leaves the socket without one.
	d := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	ok(s.setBytes(d, syscall.IPPROTO_IP, join, mreq("224.0.0.250", 2)))
	n.failJoin = syscall.EACCES
	if err := s.bind(d, netip.MustParseAddrPort("0.0.0.0:7000")); err != syscall.EACCES {
		t.Errorf("bind: %v", err)
	}
	n.expect(t, "bind 17 0.0.0.0:7000 false false", "join 7000 224.0.0.250", "release 7000")

	for _, tt := range []struct {
		level int
		b     []byte
		want  syscall.Errno
	}{
		{syscall.IPPROTO_IP, groupReq("224.0.0.1", 2)[:135], syscall.EINVAL},
		{syscall.IPPROTO_IP, groupReq("ff02::1", 2), syscall.EADDRNOTAVAIL},
		{syscall.IPPROTO_IPV6, groupReq("224.0.0.1", 2), syscall.EADDRNOTAVAIL},
		{syscall.IPPROTO_IP, groupReq("198.51.100.1", 2), syscall.EINVAL},
	} {
		if err := s.setBytes(b, tt.level, mcastJoinGroup, tt.b); err != tt.want {
			t.Errorf("MCAST_JOIN_GROUP of %v: %v, want %v", tt.b[:24], err, tt.want)
		}
	}
}
