package packet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// This file owns the 5-tuple.

// Key is a 5-tuple as this machine has it: the local side is the destination of
// what arrives and the source of what is sent. It can be compared.
type Key struct {
	// Local and Remote are addresses in the form of Info.
	Local, Remote         [16]byte
	LocalPort, RemotePort uint16
	Version, Proto        uint8
}

// RxKey is the key of a packet that arrives.
func (in *Info) RxKey() Key {
	return Key{
		Local: in.Dst, Remote: in.Src, LocalPort: in.DstPort, RemotePort: in.SrcPort,
		Version: in.Version, Proto: in.Proto,
	}
}

// TxKey is the key of a packet that is sent.
func (in *Info) TxKey() Key {
	return Key{
		Local: in.Src, Remote: in.Dst, LocalPort: in.SrcPort, RemotePort: in.DstPort,
		Version: in.Version, Proto: in.Proto,
	}
}

// Reverse is the key from the other side.
func (k Key) Reverse() Key {
	k.Local, k.Remote = k.Remote, k.Local
	k.LocalPort, k.RemotePort = k.RemotePort, k.LocalPort
	return k
}

// LocalAddr is the local address; the zero Addr when Version is neither 4 nor 6.
func (k *Key) LocalAddr() netip.Addr { return k.addr(&k.Local) }

// RemoteAddr is the remote address; the zero Addr when Version is neither 4 nor 6.
func (k *Key) RemoteAddr() netip.Addr { return k.addr(&k.Remote) }

func (k *Key) addr(b *[16]byte) netip.Addr {
	if k.Version != 4 && k.Version != 6 {
		return netip.Addr{}
	}
	return addr(b, k.Version)
}

// Hash mixes the key with a secret seed. It is the same for the reverse key. It
// keeps strangers from choosing where keys collide, and is no more than that.
func (k *Key) Hash(seed uint64) uint64 {
	h := half(&k.Local, k.LocalPort, seed) + half(&k.Remote, k.RemotePort, seed)
	return mix(h^seed, uint64(k.Version)<<8^uint64(k.Proto)^0x9e3779b97f4a7c15)
}

func half(a *[16]byte, port uint16, seed uint64) uint64 {
	h := mix(binary.LittleEndian.Uint64(a[:8])^seed, binary.LittleEndian.Uint64(a[8:])^0xa0761d6478bd642f^bits.RotateLeft64(seed, 32))
	return mix(h^uint64(port), 0xe7037ed1a0b428db^seed)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
