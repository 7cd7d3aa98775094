package main

// The guest as a router, and how much of its time it works.

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// second is the other card.
const second = "eth1"

// forward turns forwarding on.
func forward() error {
	if err := configure(second, os.Getenv("second")); err != nil {
		return err
	}
	_, to, err := net.ParseCIDR(os.Getenv("route"))
	if err != nil {
		return fmt.Errorf("route=%s: %w", os.Getenv("route"), err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(os.Getenv("via"))}); err != nil {
		return fmt.Errorf("route to %v: %w", to, err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	if err := forward6(); err != nil {
		return err
	}
	return run("/init", "usage")
}

// forward6 does the same for IPv6.
func forward6() error {
	link, err := netlink.LinkByName(second)
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(os.Getenv("second6"))
	if err != nil {
		return fmt.Errorf("second6=%s: %w", os.Getenv("second6"), err)
	}
	address.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(link, address); err != nil {
		return err
	}
	_, to, err := net.ParseCIDR(os.Getenv("route6"))
	if err != nil {
		return fmt.Errorf("route6=%s: %w", os.Getenv("route6"), err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(os.Getenv("via6"))}); err != nil {
		return fmt.Errorf("route to %v: %w", to, err)
	}
	return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0o644)
}

// usage tells each that connects how long the machine has run and how much of that its processor
// had nothing to do, in nanoseconds.
func usage() error {
	l, err := net.Listen("tcp", ":8081")
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		var now unix.Timespec
		stat, err := os.ReadFile("/proc/stat")
		if err == nil {
			err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		}
		var user, nice, system, idle, wait int64 // hundredths of a second
		if _, e := fmt.Sscanf(strings.TrimPrefix(string(stat), "cpu "), "%d %d %d %d %d", &user, &nice, &system, &idle, &wait); err == nil {
			err = e
		}
		if err == nil {
			fmt.Fprintf(c, "%d %d\n", now.Nano(), (idle+wait)*int64(10*time.Millisecond))
		}
		c.Close()
	}
}
