// Large transfers, for tests: bytes to get, bytes to post.

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// What transfers may use.
const (
	largestTransfer = 1 << 30     // bytes
	chunk           = 16 << 10    // bytes
	transferCount   = 8           // at a time
	chunkTime       = time.Minute // for a chunk to move
)

// transfers are those that are under way.
type transfers struct {
	slots chan struct{}
}

func newTransfers() *transfers { return &transfers{make(chan struct{}, transferCount)} }

// limit lets h run so often at a time; who comes too much is told to come later.
func (t *transfers) limit(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case t.slots <- struct{}{}:
			defer func() { <-t.slots }()
			h(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many transfers", http.StatusServiceUnavailable)
		}
	}
}

// newBytes returns endless pseudo-random bytes: ChaCha8 with the seed in the
// first eight bytes of its key, little endian.
func newBytes(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// hash answers with pseudo-random bytes.
func hash(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, err := strconv.ParseInt(q.Get("n"), 10, 64)
	if err != nil || n < 0 || n > largestTransfer {
		http.Error(w, fmt.Sprintf("n: 0 to %d expected", largestTransfer), http.StatusBadRequest)
		return
	}
	var seed uint64
	if s := q.Get("seed"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			http.Error(w, "seed: 0 to 18446744073709551615 expected", http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	from := newBytes(seed)
	b := make([]byte, chunk)
	for n > 0 {
		part := b[:min(n, chunk)]
		from.Read(part)
		control.SetWriteDeadline(time.Now().Add(chunkTime))
		if _, err := w.Write(part); err != nil {
			return
		}
		n -= int64(len(part))
	}
}

// upload answers with the SHA-256 of what is posted, in hexadecimal digits.
func upload(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > largestTransfer {
		w.Header().Set("Connection", "close")
		http.Error(w, fmt.Sprintf("more than %d bytes", largestTransfer), http.StatusRequestEntityTooLarge)
		return
	}
	control := http.NewResponseController(w)
	body := http.MaxBytesReader(w, r.Body, largestTransfer)
	sum := sha256.New()
	b := make([]byte, chunk)
	for {
		control.SetReadDeadline(time.Now().Add(chunkTime))
		n, err := body.Read(b)
		sum.Write(b[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			status := http.StatusBadRequest
			if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, err.Error(), status)
			return
		}
	}
	control.SetWriteDeadline(time.Now().Add(answerTime))
	text(w, fmt.Sprintf("%x\n", sum.Sum(nil)))
}
