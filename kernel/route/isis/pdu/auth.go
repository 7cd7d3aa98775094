package pdu

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// This file owns authentication: a password in clear (ISO 10589 9.5), HMAC-MD5 (RFC 5304) and
// HMAC-SHA (RFC 5310).

// Algorithm is how a key is used.
type Algorithm uint8

const (
	Clear Algorithm = iota
	MD5
	SHA1
	SHA224
	SHA256
	SHA384
	SHA512
	algorithms
)

var (
	algorithmNames = [algorithms]string{"clear", "md5", "sha1", "sha224", "sha256", "sha384", "sha512"}
	hashes         = [algorithms]func() hash.Hash{nil, md5.New, sha1.New, sha256.New224, sha256.New, sha512.New384, sha512.New}
	digests        = [algorithms]int{0, 16, 20, 28, 32, 48, 64}
)

// String is the algorithm's name.
func (a Algorithm) String() string {
	if a < algorithms {
		return algorithmNames[a]
	}
	return "unknown"
}

// Key is a secret that two routers share.
type Key struct {
	// ID names the key in the PDU with the SHA algorithms; the others have no place for it.
	ID        uint16
	Algorithm Algorithm
	// Secret is 1 to 254 octets. RFC 5310 hashes one that is longer than the digest, HMAC one
	// that is longer than a block; so with SHA it may not be longer than the digest.
	Secret []byte
}

// ErrKey says that a Key cannot be used.
var ErrKey = errors.New("isis: key cannot be used")

// Check says what is wrong with a key.
func (k *Key) Check() error {
	switch {
	case k.Algorithm >= algorithms:
		return fmt.Errorf("%w: algorithm %d", ErrKey, k.Algorithm)
	case len(k.Secret) == 0 || len(k.Secret) > 254:
		return fmt.Errorf("%w: a secret of %d octets, want 1 to 254", ErrKey, len(k.Secret))
	case k.Algorithm > MD5 && len(k.Secret) > digests[k.Algorithm]:
		return fmt.Errorf("%w: a secret of %d octets for %v, want %d at most", ErrKey, len(k.Secret), k.Algorithm, digests[k.Algorithm])
	}
	return nil
}

// Types of authentication in TLV 10.
const (
	authClear   = 1
	authGeneric = 3
	authMD5     = 54
)

// value is the value of TLV 10 before there is a digest, and where that begins.
func (k *Key) value() (b []byte, digest int) {
	switch k.Algorithm {
	case Clear:
		return append([]byte{authClear}, k.Secret...), 1
	case MD5:
		return append([]byte{authMD5}, make([]byte, digests[MD5])...), 1
	}
	b = binary.BigEndian.AppendUint16([]byte{authGeneric}, k.ID)
	return append(b, bytes.Repeat([]byte{0x87, 0x8f, 0xe1, 0xf3}, digests[k.Algorithm]/4)...), 3
}

// Length is how many bytes of a PDU a key takes; of nil 0.
func (k *Key) Length() int {
	if k == nil {
		return 0
	}
	v, _ := k.value()
	return 2 + len(v)
}

// appendAuth appends the TLV without digest. It must be the first one.
func appendAuth(b []byte, k *Key) []byte {
	if k == nil {
		return b
	}
	v, _ := k.value()
	return append(append(b, tlvAuth, byte(len(v))), v...)
}

// seal writes the digest of a PDU that begins at start, has its length and was begun with
// appendAuth, and the checksum of an LSP.
func seal(b []byte, start int, k *Key) []byte {
	p := b[start:]
	t := Type(p[4] & 0x1f)
	if k != nil && k.Algorithm != Clear {
		_, digest := k.value()
		at := headerLengths[t] + 2 + digest
		copy(p[at:], k.digest(p, at))
	}
	if t == LSPL1 || t == LSPL2 {
		putChecksum(p)
	}
	return b
}

// digest is that of a PDU whose digest is at an offset.
func (k *Key) digest(p []byte, at int) []byte {
	v, from := k.value()
	p = bytes.Clone(p)
	copy(p[at:], v[from:])
	if t := Type(p[4] & 0x1f); t == LSPL1 || t == LSPL2 {
		p[10], p[11], p[checksumAt], p[checksumAt+1] = 0, 0, 0, 0
	}
	m := hmac.New(hashes[k.Algorithm], k.Secret)
	m.Write(p)
	return m.Sum(nil)
}

// Authentic says whether one of the keys made the PDU: OK, NoAuth or BadAuth. Without keys all
// is authentic. With two TLVs of authentication none is.
func (v View) Authentic(keys []Key) Reason {
	if len(keys) == 0 {
		return OK
	}
	var value []byte
	at, n := v.header, 0
	for t, x := range v.TLVs() {
		if t == tlvAuth {
			value = x
			n++
		}
		if n == 0 {
			at += 2 + len(x)
		}
	}
	switch {
	case n == 0:
		return NoAuth
	case n > 1:
		return BadAuth
	}
	for i := range keys {
		k := &keys[i]
		want, digest := k.value()
		if len(value) != len(want) || !bytes.Equal(value[:digest], want[:digest]) {
			continue
		}
		if k.Algorithm != Clear {
			want = append(want[:digest:digest], k.digest(v.b, at+2+digest)...)
		}
		if subtle.ConstantTimeCompare(value, want) == 1 {
			return OK
		}
	}
	return BadAuth
}
