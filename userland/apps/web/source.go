// Where the numbers come from.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"
)

// source is what knows the numbers.
type source interface {
	// Snapshot returns them as of now: a JSON object. The caller must not change it.
	Snapshot() ([]byte, error)
}

// largestSnapshot is the most that a source may say, in bytes.
const largestSnapshot = 4 << 20

var (
	errTooLong = errors.New("longer than 4 MiB")
	errNotJSON = errors.New("not a JSON object")
)

// file is a source: a file that holds the numbers of the machine whenever it is read.
// Where there is none, other is asked.
type file struct {
	path  string
	other func(why string) ([]byte, error)
}

// newSource returns the file at path, or this process where there is none.
func newSource(path string) source {
	start := time.Now()
	return &file{path, func(why string) ([]byte, error) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return processNumbers(why, &m, time.Since(start))
	}}
}

// Snapshot implements source.
func (s *file) Snapshot() ([]byte, error) {
	f, err := os.Open(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.other("outside")
	case errors.Is(err, fs.ErrPermission):
		return s.other("forbidden")
	case err != nil:
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, largestSnapshot+1))
	if errors.Is(err, fs.ErrPermission) {
		return s.other("forbidden")
	}
	if err == nil && len(b) > largestSnapshot {
		err = errTooLong
	}
	if err == nil && (!json.Valid(b) || firstByte(b) != '{') {
		err = errNotJSON
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return b, nil
}

// firstByte returns the first byte that is not a blank.
func firstByte(b []byte) byte {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

// processNumbers is what this process knows of itself. why is "outside" where the
// machine is another system's, "forbidden" where the domain may not observe.
func processNumbers(why string, m *runtime.MemStats, up time.Duration) ([]byte, error) {
	type process struct {
		Why        string `json:"why"`
		Go         string `json:"go"`
		CPUs       int    `json:"cpus"`
		Goroutines int    `json:"goroutines"`
		Heap       uint64 `json:"heap"`        // bytes in use
		Memory     uint64 `json:"memory"`      // bytes from the system
		Allocated  uint64 `json:"allocated"`   // bytes since the start
		Collected  uint32 `json:"collections"` // since the start
		Pause      uint64 `json:"pause_ns"`    // of all collections
	}
	return json.Marshal(struct {
		Time    int64   `json:"time_ns"` // since the start
		Process process `json:"process"`
	}{int64(up), process{
		why, runtime.Version(), runtime.NumCPU(), runtime.NumGoroutine(),
		m.HeapAlloc, m.Sys, m.TotalAlloc, m.NumGC, m.PauseTotalNs,
	}})
}

// freshness is for how long a snapshot serves all who ask.
const freshness = 250 * time.Millisecond

// recent is a source that asks another one now and then, however many ask it.
type recent struct {
	of  source
	now func() time.Time

	mu  sync.Mutex
	at  time.Time
	b   []byte
	err error
}

func newRecent(of source, now func() time.Time) *recent { return &recent{of: of, now: now} }

// Snapshot implements source.
func (r *recent) Snapshot() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.at.IsZero() || now.Sub(r.at) >= freshness || now.Before(r.at) {
		r.b, r.err = r.of.Snapshot()
		r.at = now
	}
	return r.b, r.err
}
