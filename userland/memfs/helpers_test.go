package memfs

import (
	"syscall"
	"testing"
)

// ticks is a clock that moves on by a second whenever it is read.
func ticks() func() (int64, int64) {
	var sec int64
	return func() (int64, int64) { sec++; return sec, sec % 7 }
}

func newFS(t testing.TB, quota int64) *FS {
	t.Helper()
	fs := New(quota, ticks())
	t.Cleanup(func() {
		t.Helper()
		if err := fs.check(nil); err != nil {
			t.Error(err)
		}
	})
	return fs
}

func want(t testing.TB, got, expected syscall.Errno) {
	t.Helper()
	if got != expected {
		t.Fatalf("got %v (%d), want %v (%d)", got, int(got), expected, int(expected))
	}
}

// open opens a file until the test ends.
func open(t testing.TB, fs *FS, path string, flags int) *Handle {
	t.Helper()
	h, err := fs.Open(nil, path, flags, 0o644)
	want(t, err, 0)
	t.Cleanup(h.Close)
	return h
}

func write(t testing.TB, fs *FS, path, data string) {
	t.Helper()
	h, err := fs.Open(nil, path, OWriteOnly|OCreate|OTruncate, 0o644)
	want(t, err, 0)
	defer h.Close()
	if n, err := h.Write([]byte(data)); n != len(data) || err != 0 {
		t.Fatalf("Write: %d, %v", n, err)
	}
}

func read(t testing.TB, fs *FS, path string) string {
	t.Helper()
	h, err := fs.Open(nil, path, OReadOnly, 0)
	want(t, err, 0)
	defer h.Close()
	p := make([]byte, h.Stat().Size+1)
	n, err := h.Read(p)
	want(t, err, 0)
	return string(p[:n])
}

func names(t testing.TB, h *Handle, limit int) (list []string) {
	t.Helper()
	want(t, h.ReadDir(func(e DirEntry) bool {
		if limit == 0 {
			return false
		}
		limit--
		list = append(list, e.Name)
		return true
	}), 0)
	return list
}
