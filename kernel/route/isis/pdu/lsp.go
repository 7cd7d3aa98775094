package pdu

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// This file owns LSPs: one fragment as bytes and as a value.

// LSP is a fragment of what a node says.
type LSP struct {
	Level Level
	Header
	Flags Flags
	TLVs
}

// LSP reads a view of an LSP.
func (v View) LSP() *LSP {
	return &LSP{Level: v.Type().Level(), Header: v.LSPHeader(), Flags: v.Flags(), TLVs: *v.Parse()}
}

// Content is what is written into a fragment.
type Content struct {
	Level    Level
	ID       LSPID
	Sequence uint32
	Lifetime uint16
	Flags    Flags
	// What follows stands in fragment 0 of a router.
	Areas      []Area
	NLPIDs     []byte
	Hostname   string // 255 octets at most
	Topologies []Topology
	IPv4, IPv6 []netip.Addr
	// Items are those that Pack put into this fragment.
	Items []Item
}

// Append appends the fragment's bytes, sealed with a key; nil: without.
func (c *Content) Append(b []byte, k *Key) []byte {
	start := len(b)
	b = c.header(b)
	b = appendAuth(b, k)
	b = appendAreas(b, c.Areas)
	b = appendTLV(b, tlvNLPIDs, c.NLPIDs, 1)
	b = appendTopologies(b, c.Topologies)
	if c.Hostname != "" {
		b = append(append(b, tlvHostname, byte(len(c.Hostname))), c.Hostname...)
	}
	b = appendAddrs(b, tlvIPv4, c.IPv4, 4)
	b = appendAddrs(b, tlvIPv6, c.IPv6, 16)
	b = appendItems(b, c.Items)
	return seal(end(b, start), start, k)
}

func (c *Content) header(b []byte) []byte {
	start := len(b)
	t := LSPL1
	if c.Level == L2 {
		t = LSPL2
	}
	b = begin(b, t)
	p := b[start:]
	binary.BigEndian.PutUint16(p[10:], c.Lifetime)
	copy(p[12:], c.ID[:])
	binary.BigEndian.PutUint32(p[20:], c.Sequence)
	p[26] = byte(c.Flags)
	return b
}

// appendItems appends items, those of a kind that follow each other in one TLV as long as they fit.
func appendItems(b []byte, items []Item) []byte {
	at := -1 // of the TLV that is open
	for i, it := range items {
		if at < 0 || !it.joins(items[i-1]) || int(b[at+1])+it.length() > 255 {
			at = len(b)
			b = append(b, it.kind, 0)
			if it.hasMT() {
				b = binary.BigEndian.AppendUint16(b, it.mt)
				b[at+1] = 2
			}
		}
		b = it.append(b)
		b[at+1] += byte(it.length())
	}
	return b
}

func (it Item) joins(o Item) bool { return it.kind == o.kind && it.mt == o.mt }

func (it Item) hasMT() bool {
	return it.kind == tlvMTNeighbours || it.kind == tlvMTPrefixes || it.kind == tlvMTPrefixes6
}

// AppendPurge appends a purge of an LSP: its header with lifetime 0, and with a key who purged it
// and its name (RFC 5304 3.5, RFC 6232, RFC 6233). A purge has no checksum.
func AppendPurge(b []byte, level Level, id LSPID, sequence uint32, by SystemID, hostname string, k *Key) []byte {
	start := len(b)
	c := Content{Level: level, ID: id, Sequence: sequence}
	b = c.header(b)
	if k != nil {
		b = appendAuth(b, k)
		b = append(append(b, tlvPurge, 7, 1), by[:]...)
		if hostname != "" {
			b = append(append(b, tlvHostname, byte(len(hostname))), hostname...)
		}
	}
	b = seal(end(b, start), start, k)
	b[start+checksumAt], b[start+checksumAt+1] = 0, 0
	return b
}

// PurgeOnly says whether an LSP has no TLVs but those that a purge may have when there is
// authentication.
func (v View) PurgeOnly() bool {
	for t := range v.TLVs() {
		if t != tlvAuth && t != tlvPurge && t != tlvHostname {
			return false
		}
	}
	return true
}

// SetLifetime writes the seconds that remain of an LSP, which neither its checksum nor its digest covers.
func SetLifetime(lsp []byte, seconds uint16) { binary.BigEndian.PutUint16(lsp[10:], seconds) }

// SameContent says whether two LSPs say the same: flags and TLVs, but for authentication.
func (v View) SameContent(o View) bool {
	if v.Flags() != o.Flags() {
		return false
	}
	return bytes.Equal(v.afterAuth(), o.afterAuth())
}

// afterAuth are the TLVs after the first one if that is authentication, or all.
func (v View) afterAuth() []byte {
	b := v.b[v.header:]
	if len(b) > 0 && b[0] == tlvAuth {
		return b[2+int(b[1]):]
	}
	return b
}
