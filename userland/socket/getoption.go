package socket

import (
	"encoding/binary"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Options that are read. What SetOption takes without effect cannot be.

// Option implements posix.Socket.
func (k *sock) Option(level, name int) ([]byte, syscall.Errno) {
	// For a level that there is not, the families of Linux differ.
	n, err := 0, syscall.EOPNOTSUPP
	if k.v6 {
		err = syscall.ENOPROTOOPT
	}
	if (level == syscall.IPPROTO_IP || level == syscall.IPPROTO_IPV6 && k.v6) && multicast(level, name) {
		return k.getMulticast(level, name)
	}
	switch level {
	case syscall.SOL_SOCKET:
		if name == syscall.SO_LINGER {
			l := k.ep.SocketOptions().GetLinger()
			b := binary.NativeEndian.AppendUint32(nil, flag32(l.Enabled))
			return binary.NativeEndian.AppendUint32(b, uint32(l.Timeout/time.Second)), 0
		}
		n, err = k.getSocket(name)
	case syscall.IPPROTO_TCP:
		if k.protocol == syscall.IPPROTO_TCP {
			n, err = k.getTCP(name)
		}
	case syscall.IPPROTO_IP:
		n, err = k.getIP(name)
	case syscall.IPPROTO_IPV6:
		if k.v6 {
			n, err = k.getIPv6(name)
		}
	}
	if err != 0 {
		return nil, err
	}
	return binary.NativeEndian.AppendUint32(nil, uint32(n)), 0
}

func flag32(on bool) uint32 { return uint32(flag(on)) }

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func (k *sock) getSocket(name int) (int, syscall.Errno) {
	o := k.ep.SocketOptions()
	switch name {
	case syscall.SO_ERROR:
		if err := k.over(); err != 0 {
			return int(err), 0
		}
		err := k.ep.LastError()
		if err != nil {
			// gVisor keeps a connection's error in two places.
			k.ep.LastError()
		}
		return int(errno(err)), 0
	case syscall.SO_TYPE:
		if k.kind != 0 {
			return k.kind, 0
		}
		if k.protocol == syscall.IPPROTO_TCP {
			return syscall.SOCK_STREAM, 0
		}
		return syscall.SOCK_DGRAM, 0
	case syscall.SO_PROTOCOL:
		return k.protocol, 0
	case soDomain:
		if k.v6 {
			return syscall.AF_INET6, 0
		}
		return syscall.AF_INET, 0
	case syscall.SO_ACCEPTCONN:
		return flag(k.protocol == syscall.IPPROTO_TCP && tcp.EndpointState(k.ep.State()) == tcp.StateListen), 0
	case syscall.SO_REUSEADDR:
		return flag(o.GetReuseAddress()), 0
	case soReusePort:
		return flag(o.GetReusePort()), 0
	case syscall.SO_BROADCAST:
		return flag(o.GetBroadcast()), 0
	case syscall.SO_KEEPALIVE:
		return flag(o.GetKeepAlive()), 0
	case syscall.SO_PRIORITY:
		return k.owner.Priority(), 0
	case soMaxPacingRate:
		return int(int32(k.pacing.Rate())), 0
	case syscall.SO_SNDBUF:
		return int(o.GetSendBufferSize()), 0
	case syscall.SO_RCVBUF:
		return int(o.GetReceiveBufferSize()), 0
	}
	return 0, syscall.ENOPROTOOPT
}

func (k *sock) getTCP(name int) (n int, err syscall.Errno) {
	o := k.ep.SocketOptions()
	var problem tcpip.Error
	switch name {
	case syscall.TCP_NODELAY:
		n = flag(!o.GetDelayOption())
	case syscall.TCP_CORK:
		n = flag(o.GetCorkOption())
	case syscall.TCP_QUICKACK:
		n = flag(o.GetQuickAck())
	case syscall.TCP_KEEPIDLE:
		var v tcpip.KeepaliveIdleOption
		problem = k.ep.GetSockOpt(&v)
		n = int(time.Duration(v) / time.Second)
	case syscall.TCP_KEEPINTVL:
		var v tcpip.KeepaliveIntervalOption
		problem = k.ep.GetSockOpt(&v)
		n = int(time.Duration(v) / time.Second)
	case syscall.TCP_KEEPCNT:
		n, problem = k.ep.GetSockOptInt(tcpip.KeepaliveCountOption)
	case tcpUserTimeout:
		var v tcpip.TCPUserTimeoutOption
		problem = k.ep.GetSockOpt(&v)
		n = int(time.Duration(v) / time.Millisecond)
	case syscall.TCP_MAXSEG:
		n, problem = k.ep.GetSockOptInt(tcpip.MaxSegOption)
	default:
		return 0, syscall.ENOPROTOOPT
	}
	return n, errno(problem)
}

func (k *sock) getIP(name int) (n int, err syscall.Errno) {
	var problem tcpip.Error
	switch name {
	case syscall.IP_TOS:
		n, problem = k.ep.GetSockOptInt(tcpip.IPv4TOSOption)
	case syscall.IP_TTL:
		if n, problem = k.ep.GetSockOptInt(tcpip.IPv4TTLOption); n == 0 {
			n = 64
		}
	case ipMTU:
		return k.pathMTU()
	default:
		return 0, syscall.ENOPROTOOPT
	}
	return n, errno(problem)
}

// pathMTU is the longest packet to the peer in bytes.
func (k *sock) pathMTU() (int, syscall.Errno) {
	if _, err := k.ep.GetRemoteAddress(); err != nil {
		return 0, syscall.ENOTCONN
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.claim.(Measured); ok {
		return c.MTU(), 0
	}
	id := k.s.WireNIC
	if a, err := k.ep.GetLocalAddress(); err == nil && private(k.from(a).Addr()) || id == 0 {
		return loopbackMTU, 0
	}
	return int(k.s.Net.NICInfo()[id].MTU), 0
}

// loopbackMTU is the MTU of the loopback interface in bytes.
const loopbackMTU = 65536

func (k *sock) getIPv6(name int) (n int, err syscall.Errno) {
	var problem tcpip.Error
	switch name {
	case syscall.IPV6_V6ONLY:
		n = flag(k.ep.SocketOptions().GetV6Only())
	case syscall.IPV6_TCLASS:
		n, problem = k.ep.GetSockOptInt(tcpip.IPv6TrafficClassOption)
	case syscall.IPV6_UNICAST_HOPS:
		if n, problem = k.ep.GetSockOptInt(tcpip.IPv6HopLimitOption); n == -1 {
			n = 64
		}
	case ipv6MTU:
		return k.pathMTU()
	default:
		return 0, syscall.ENOPROTOOPT
	}
	return n, errno(problem)
}
