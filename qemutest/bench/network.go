package main

// The cable between the client and a guest: a tap with offload headers, or
// QEMU's user network where no tap can be had.

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	tapName = "sluice0"
	subnet  = "10.88.0.0/24"
	hostIP  = "10.88.0.1"
	guestIP = "10.88.0.2"
	bits    = "/24"
	// guestMAC is set for both guests, so that the host need not ask for it.
	guestMAC = "52:54:00:88:00:02"
	// forwardBase is added to a guest's port on the user network.
	forwardBase = 10000
)

// ports are the guests' services.
const (
	echoPort    = 7
	discardPort = 9
	httpPort    = 80
	iperfPort   = 5201
	// sourcePort is Linux's: HTTP from a program's memory.
	sourcePort = 8080
)

// network is a way to reach a guest.
type network struct {
	tap  bool
	note string // why there is no tap
	host string // user network: the local address that ports are forwarded from
}

// openNetwork sets up this namespace.
func openNetwork() network {
	err := openTap()
	if err == nil {
		return network{tap: true}
	}
	return userNetwork(err.Error())
}

// openTap makes the tap, its address, and a fixed entry for the guest, so that
// no measure waits for a neighbour to be found.
func openTap() error {
	if err := openLoopback(); err != nil {
		return err
	}
	return addTap(tapName, hostIP, guestIP, guestMAC)
}

func openLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	return nil
}

// addTap makes one tap with our address and a guest's.
func addTap(name, own, guest, guestMAC string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	tap := &netlink.Tuntap{
		LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP,
		Flags: netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE,
	}
	if err := netlink.LinkAdd(tap); err != nil {
		return err
	}
	address, err := netlink.ParseAddr(own + bits)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(tap, address); err != nil {
		return fmt.Errorf("tap address: %w", err)
	}
	if err := netlink.LinkSetUp(tap); err != nil {
		return fmt.Errorf("tap: %w", err)
	}
	mac, err := net.ParseMAC(guestMAC)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: net.ParseIP(guest), HardwareAddr: mac,
	}); err != nil {
		return fmt.Errorf("tap neighbour: %w", err)
	}
	return nil
}

// addAddress6 gives a tap an address of IPv6 that can be used at once.
func addAddress6(tap, address string) error {
	link, err := netlink.LinkByName(tap)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	a.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(link, a); err != nil {
		return fmt.Errorf("tap address: %w", err)
	}
	return nil
}

// userNetwork returns QEMU's user network. The local address holds this
// process's number, so that two benches do not want the same ports.
func userNetwork(why string) network {
	pid := os.Getpid()
	return network{
		note: "no tap (" + why + "): measured over QEMU's user network, which is slower than both guests",
		host: fmt.Sprintf("127.%d.%d.%d", 64|pid>>16&0x3f, pid>>8&0xff, pid&0xff),
	}
}

// netdev is the value of QEMU's -netdev, as qemu.Config takes it.
func (n network) netdev() string {
	if n.tap {
		return "tap,ifname=" + tapName + ",script=no,downscript=no,vnet_hdr=on"
	}
	s := []string{"user,net=" + subnet + ",host=" + hostIP}
	for _, f := range []struct {
		protocol string
		port     int
	}{{"tcp", httpPort}, {"tcp", discardPort}, {"tcp", sourcePort}, {"tcp", iperfPort}, {"udp", echoPort}} {
		s = append(s, fmt.Sprintf("hostfwd=%s:%s:%d-%s:%d", f.protocol, n.host, forwardBase+f.port, guestIP, f.port))
	}
	return strings.Join(s, ",")
}

// address is where a port of the guest is reached.
func (n network) address(port int) (host string, at int) {
	if n.tap {
		return guestIP, port
	}
	return n.host, forwardBase + port
}

// dialAddress is address for net.Dial.
func (n network) dialAddress(port int) string {
	host, at := n.address(port)
	return net.JoinHostPort(host, fmt.Sprint(at))
}

// name is the network's, in results.
func (n network) name() string {
	if n.tap {
		return "tap, vnet_hdr=on"
	}
	return "user"
}
