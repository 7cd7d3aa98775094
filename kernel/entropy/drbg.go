package entropy

// HMAC_DRBG with SHA-256 (NIST SP 800-90A revision 1, 10.1.2). It reuses one
// hash, so that drawing from it allocates nothing.

import (
	"crypto/sha256"
	"hash"
)

type drbg struct {
	k, v [sha256.Size]byte
	hash hash.Hash
	pad  [sha256.BlockSize]byte
	sep  [1]byte
}

// newDRBG returns a generator without any entropy (10.1.2.3, steps 2 and 3).
func newDRBG() drbg {
	d := drbg{hash: sha256.New()}
	for i := range d.v {
		d.v[i] = 1
	}
	return d
}

// update is HMAC_DRBG_Update (10.1.2.2).
func (d *drbg) update(data []byte) {
	for round := range 2 {
		d.inner()
		d.hash.Write(d.v[:])
		d.sep[0] = byte(round)
		d.hash.Write(d.sep[:])
		d.hash.Write(data)
		d.outer(&d.k)
		d.step()
		if len(data) == 0 {
			return
		}
	}
}

// generate fills p, at most requestMax bytes (10.1.2.5, steps 3 to 6).
func (d *drbg) generate(p []byte) {
	for len(p) > 0 {
		d.step()
		p = p[copy(p, d.v[:]):]
	}
	d.update(nil)
}

// step is V = HMAC(K, V).
func (d *drbg) step() {
	d.inner()
	d.hash.Write(d.v[:])
	d.outer(&d.v)
}

// inner begins HMAC(K, ...) (FIPS 198-1, 4); outer ends it.
func (d *drbg) inner() {
	d.hash.Reset()
	d.hash.Write(d.padded(0x36))
}

func (d *drbg) outer(sum *[sha256.Size]byte) {
	pad := d.padded(0x5c)
	d.hash.Sum(sum[:0])
	// K may have been overwritten; its pad was made before.
	d.hash.Reset()
	d.hash.Write(pad)
	d.hash.Write(sum[:])
	d.hash.Sum(sum[:0])
}

// padded returns K with each byte of its block exclusive-ored with x.
func (d *drbg) padded(x byte) []byte {
	for i := range d.pad {
		d.pad[i] = x
		if i < len(d.k) {
			d.pad[i] ^= d.k[i]
		}
	}
	return d.pad[:]
}
