package socket

import (
	"encoding/binary"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Options that package syscall does not name.
const (
	soReusePort      = 15
	soDomain         = 39
	tcpUserTimeout   = 18
	ipv6RecvErr      = 25
	ipBindAddrNoPort = 24
	ipMTU            = 14
	ipv6MTU          = 24
)

// number reads the value of an option: an int.
func number(value []byte) (int, syscall.Errno) {
	if len(value) < 4 {
		return 0, syscall.EINVAL
	}
	return int(int32(binary.NativeEndian.Uint32(value))), 0
}

// numberIP reads that of an option of IPv4, which may be a byte.
func numberIP(name int, value []byte) (int, syscall.Errno) {
	switch {
	case len(value) >= 4:
		return number(value)
	case len(value) >= 1:
		return int(value[0]), 0
	case name == syscall.IP_TOS:
		return 0, 0
	}
	return 0, syscall.EINVAL
}

// hops is the value of an option that is up to 255, or initially for -1.
func hops(n, least, initially int) (int, syscall.Errno) {
	switch {
	case n == -1:
		return initially, 0
	case n < least || n > 255:
		return 0, syscall.EINVAL
	}
	return n, 0
}

// SetOption implements posix.Socket.
func (k *sock) SetOption(level, name int, value []byte) syscall.Errno {
	switch level {
	case syscall.SOL_SOCKET:
		return k.setSocket(name, value)
	case syscall.IPPROTO_TCP:
		if k.protocol != syscall.IPPROTO_TCP {
			return syscall.ENOPROTOOPT
		}
		return k.setTCP(name, value)
	case syscall.IPPROTO_IP:
		if multicast(level, name) {
			return k.setMulticast(level, name, value)
		}
		return k.setIP(name, value)
	case syscall.IPPROTO_IPV6:
		if !k.v6 {
			return syscall.ENOPROTOOPT
		}
		if multicast(level, name) {
			return k.setMulticast(level, name, value)
		}
		return k.setIPv6(name, value)
	}
	return syscall.ENOPROTOOPT
}

func (k *sock) setSocket(name int, value []byte) syscall.Errno {
	o := k.ep.SocketOptions()
	if name == syscall.SO_LINGER {
		if len(value) < 8 {
			return syscall.EINVAL
		}
		o.SetLinger(tcpip.LingerOption{
			Enabled: binary.NativeEndian.Uint32(value) != 0,
			Timeout: time.Duration(int32(binary.NativeEndian.Uint32(value[4:]))) * time.Second,
		})
		return 0
	}
	n, err := number(value)
	if err != 0 {
		return err
	}
	switch name {
	case syscall.SO_REUSEADDR:
		k.mu.Lock()
		k.reuse = n != 0
		k.mu.Unlock()
		o.SetReuseAddress(n != 0)
	case soReusePort:
		k.mu.Lock()
		k.share = n != 0
		k.mu.Unlock()
		o.SetReusePort(n != 0)
	case syscall.SO_BROADCAST:
		o.SetBroadcast(n != 0)
	case syscall.SO_KEEPALIVE:
		o.SetKeepAlive(n != 0)
	case syscall.SO_SNDBUF:
		o.SetSendBufferSize(int64(n)*2, true)
	case syscall.SO_RCVBUF:
		o.SetReceiveBufferSize(int64(n)*2, true)
		k.box.setLimit(int(o.GetReceiveBufferSize()))
	case syscall.SO_PRIORITY:
		return k.setPriority(n)
	case soMaxPacingRate:
		k.pacing.set(uint32(n))
		k.wq.Notify(waiter.WritableEvents)
	case syscall.SO_OOBINLINE, syscall.SO_DONTROUTE, syscall.SO_TIMESTAMP:
		// Taken, and without effect.
	default:
		return syscall.ENOPROTOOPT
	}
	return 0
}

func (k *sock) setTCP(name int, value []byte) syscall.Errno {
	n, err := number(value)
	if err != 0 {
		return err
	}
	ep := k.ep.(*tcp.Endpoint) // of which the compiler knows that it keeps no pointer to an option
	o := ep.SocketOptions()
	var problem tcpip.Error
	switch name {
	case syscall.TCP_NODELAY:
		o.SetDelayOption(n == 0)
	case syscall.TCP_CORK:
		o.SetCorkOption(n != 0)
	case syscall.TCP_QUICKACK:
		o.SetQuickAck(n != 0)
	case syscall.TCP_KEEPIDLE, syscall.TCP_KEEPINTVL, syscall.TCP_KEEPCNT:
		most := 32767
		if name == syscall.TCP_KEEPCNT {
			most = 127
		}
		if n < 1 || n > most {
			return syscall.EINVAL
		}
		d := time.Duration(n) * time.Second
		switch name {
		case syscall.TCP_KEEPIDLE:
			v := tcpip.KeepaliveIdleOption(d)
			problem = ep.SetSockOpt(&v)
		case syscall.TCP_KEEPINTVL:
			v := tcpip.KeepaliveIntervalOption(d)
			problem = ep.SetSockOpt(&v)
		default:
			problem = ep.SetSockOptInt(tcpip.KeepaliveCountOption, n)
		}
	case tcpUserTimeout:
		if n < 0 {
			return syscall.EINVAL
		}
		v := tcpip.TCPUserTimeoutOption(time.Duration(n) * time.Millisecond)
		problem = ep.SetSockOpt(&v)
	case syscall.TCP_MAXSEG:
		problem = ep.SetSockOptInt(tcpip.MaxSegOption, n)
	case syscall.TCP_DEFER_ACCEPT, syscall.TCP_SYNCNT, syscall.TCP_LINGER2, syscall.TCP_WINDOW_CLAMP, tcpFastOpen:
	default:
		return syscall.ENOPROTOOPT
	}
	return errno(problem)
}

// setCustom leaves what is sent to gVisor, which knows the options.
func (k *sock) setCustom() {
	k.mu.Lock()
	k.custom = true
	k.mu.Unlock()
}

func (k *sock) setHears(on bool) {
	k.mu.Lock()
	k.hears = on
	k.mu.Unlock()
}

// tcpFastOpen is asked for by programs that live without it.
const tcpFastOpen = 23

func (k *sock) setIP(name int, value []byte) syscall.Errno {
	n, err := numberIP(name, value)
	if err != 0 {
		return err
	}
	switch name {
	case syscall.IP_TOS:
		k.setCustom()
		return errno(k.ep.SetSockOptInt(tcpip.IPv4TOSOption, n))
	case syscall.IP_TTL:
		if n == -1 {
			n = 0
		} else if n < 1 || n > 255 {
			return syscall.EINVAL
		}
		k.setCustom()
		return errno(k.ep.SetSockOptInt(tcpip.IPv4TTLOption, n))
	case syscall.IP_RECVERR:
		k.setHears(n != 0)
		return 0
	case syscall.IP_MTU_DISCOVER, ipBindAddrNoPort:
		return 0
	}
	return syscall.ENOPROTOOPT
}

func (k *sock) setIPv6(name int, value []byte) syscall.Errno {
	n, err := number(value)
	if err != 0 {
		return err
	}
	switch name {
	case syscall.IPV6_V6ONLY:
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.bound {
			return syscall.EINVAL
		}
		k.v6only = n != 0
		k.ep.SocketOptions().SetV6Only(n != 0)
		return 0
	case syscall.IPV6_TCLASS:
		if n, err = hops(n, 0, 0); err != 0 {
			return err
		}
		k.setCustom()
		return errno(k.ep.SetSockOptInt(tcpip.IPv6TrafficClassOption, n))
	case syscall.IPV6_UNICAST_HOPS:
		if n, err = hops(n, 0, -1); err != 0 { // gVisor has its default for -1 too
			return err
		}
		k.setCustom()
		return errno(k.ep.SetSockOptInt(tcpip.IPv6HopLimitOption, n))
	case ipv6RecvErr:
		k.setHears(n != 0)
		return 0
	case syscall.IPV6_MTU_DISCOVER:
		return 0
	}
	return syscall.ENOPROTOOPT
}
