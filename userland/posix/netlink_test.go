package posix_test

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/userland/posix"
)

// manyLinks are so many that an answer does not fit a page.
func manyLinks() (list []posix.Link) {
	list = append(list, posix.Link{
		Index: 1, Name: "lo", MTU: 65536, Loopback: true, Up: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")},
	})
	for i := range 200 {
		list = append(list, posix.Link{
			Index: i + 2, Name: fmt.Sprint("eth", i), MTU: 1500, MAC: []byte{2, 0, 0, 0, 0, byte(i)}, Up: i%2 == 0,
			Addresses: []netip.Prefix{
				netip.MustParsePrefix(fmt.Sprintf("10.0.%d.1/24", i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::1/64", i)),
			},
		})
	}
	return list
}

// rib asks as package syscall does, with a buffer of a page.
func rib(c caller, kind, family int) (list []syscall.NetlinkMessage) {
	c.t.Helper()
	fd := c.must(syscall.SYS_SOCKET, syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	defer c.must(syscall.SYS_CLOSE, fd)
	own := &syscall.RawSockaddrNetlink{Family: syscall.AF_NETLINK}
	c.must(syscall.SYS_BIND, fd, uintptr(unsafe.Pointer(own)), syscall.SizeofSockaddrNetlink)
	request := &syscall.NetlinkRouteRequest{
		Header: syscall.NlMsghdr{Len: 17, Type: uint16(kind), Flags: syscall.NLM_F_DUMP | syscall.NLM_F_REQUEST, Seq: 9},
		Data:   syscall.RtGenmsg{Family: uint8(family)},
	}
	c.must(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(request)), 17, 0, uintptr(unsafe.Pointer(own)), syscall.SizeofSockaddrNetlink)
	name, size := new(syscall.RawSockaddrNetlink), new(uint32)
	*size = syscall.SizeofSockaddrNetlink
	c.must(syscall.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(size)))
	if name.Family != syscall.AF_NETLINK || *size != syscall.SizeofSockaddrNetlink {
		c.t.Errorf("name %+v of %d bytes", name, *size)
	}
	for range 100 {
		b, from := make([]byte, 4096), new(syscall.RawSockaddrNetlink)
		*size = syscall.SizeofSockaddrNetlink
		n := c.must(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 4096, 0, uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(size)))
		if from.Family != syscall.AF_NETLINK || from.Pid != 0 {
			c.t.Errorf("sender %+v", from)
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			c.t.Fatal(err)
		}
		for _, m := range messages {
			if m.Header.Seq != 9 || m.Header.Pid != name.Pid {
				c.t.Fatalf("header %+v", m.Header)
			}
			if m.Header.Type == syscall.NLMSG_DONE {
				return list
			}
			list = append(list, m)
		}
	}
	c.t.Fatal("no end")
	return nil
}

// attributes are those of a message, by type.
func attributes(t *testing.T, m *syscall.NetlinkMessage) map[uint16][]byte {
	t.Helper()
	list, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		t.Fatal(err)
	}
	all := map[uint16][]byte{}
	for _, a := range list {
		all[a.Attr.Type] = a.Value
	}
	return all
}

func TestNetlinkInterfaces(t *testing.T) {
	links := manyLinks()
	c := newProcess(t, func(p *posix.Process) { p.Links = manyLinks })
	list := rib(c, syscall.RTM_GETLINK, syscall.AF_UNSPEC)
	if len(list) != len(links) {
		t.Fatalf("%d interfaces, want %d", len(list), len(links))
	}
	for i, m := range list {
		want := links[i]
		info := (*syscall.IfInfomsg)(unsafe.Pointer(&m.Data[0]))
		all := attributes(t, &m)
		name := strings.TrimRight(string(all[syscall.IFLA_IFNAME]), "\x00")
		mtu := *(*uint32)(unsafe.Pointer(&all[syscall.IFLA_MTU][0]))
		if m.Header.Type != syscall.RTM_NEWLINK || int(info.Index) != want.Index || name != want.Name || int(mtu) != want.MTU ||
			string(all[syscall.IFLA_ADDRESS]) != string(want.MAC) {
			t.Errorf("%+v, %q, %d, %v, want %+v", info, name, mtu, all[syscall.IFLA_ADDRESS], want)
		}
		if up, loopback := info.Flags&syscall.IFF_UP != 0, info.Flags&syscall.IFF_LOOPBACK != 0; up != want.Up || loopback != want.Loopback {
			t.Errorf("%s: flags %#x", name, info.Flags)
		}
	}
}

func TestNetlinkAddresses(t *testing.T) {
	c := newProcess(t, func(p *posix.Process) { p.Links = manyLinks })
	for _, family := range []int{syscall.AF_UNSPEC, syscall.AF_INET, syscall.AF_INET6} {
		var want, got []string
		for _, l := range manyLinks() {
			for _, a := range l.Addresses {
				if family == syscall.AF_UNSPEC || a.Addr().Is4() == (family == syscall.AF_INET) {
					want = append(want, fmt.Sprint(l.Index, a))
				}
			}
		}
		for _, m := range rib(c, syscall.RTM_GETADDR, family) {
			info := (*syscall.IfAddrmsg)(unsafe.Pointer(&m.Data[0]))
			ip, _ := netip.AddrFromSlice(attributes(t, &m)[syscall.IFA_ADDRESS])
			got = append(got, fmt.Sprint(info.Index, netip.PrefixFrom(ip, int(info.Prefixlen))))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("family %d: %v, want %v", family, got, want)
		}
	}
	if list := rib(newProcess(t, nil), syscall.RTM_GETLINK, 0); len(list) != 0 {
		t.Errorf("%d interfaces of none", len(list))
	}
}

// Requests of any bytes get an answer that can be parsed, or an error.
func FuzzNetlink(f *testing.F) {
	f.Add([]byte{17, 0, 0, 0, syscall.RTM_GETLINK, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{17, 0, 0, 0, syscall.RTM_GETADDR, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 10})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, request []byte) {
		c := newProcess(t, func(p *posix.Process) { p.Links = manyLinks })
		fd := c.must(syscall.SYS_SOCKET, syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_NONBLOCK, 0)
		if len(request) > 0 {
			c.call(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&request[0])), uintptr(len(request)))
		}
		for {
			b := make([]byte, 4096)
			n, err := c.call(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), 4096)
			if err == syscall.EAGAIN {
				return
			}
			if _, bad := syscall.ParseNetlinkMessage(b[:n]); err != 0 || bad != nil {
				t.Fatalf("%v, %v", err, bad)
			}
		}
	})
}
