package memfs

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestRename(t *testing.T) {
	for _, c := range []struct {
		from, to string
		err      syscall.Errno
	}{
		{"f", "new", 0},
		{"f", "g", 0},
		{"f", "f", 0},
		{"f", "./hard", 0},
		{"f", "empty", syscall.EISDIR},
		{"f", "new/", syscall.ENOTDIR},
		{"d", "empty", 0},
		{"d", "new/", 0},
		{"d", "f", syscall.ENOTDIR},
		{"d", "full", syscall.ENOTEMPTY},
		{"full", "d", syscall.ENOTEMPTY},
		{"d", "d/sub/x", syscall.EINVAL},
		{"d", "d/x", syscall.EINVAL},
		{"d/sub", "d", syscall.ENOTEMPTY},
		{"d", ".", syscall.EBUSY},
		{"none", "x", syscall.ENOENT},
		{"/", "x", syscall.EBUSY},
		{"f", "f/x", syscall.ENOTDIR},
	} {
		fs := newFS(t, 1<<20)
		for _, d := range []string{"/empty", "/d", "/d/sub", "/full", "/full/x"} {
			want(t, fs.Mkdir(nil, d, 0o755), 0)
		}
		write(t, fs, "/f", "f")
		write(t, fs, "/g", "g")
		want(t, fs.Link(nil, "/f", nil, "/hard", false), 0)
		if err := fs.Rename(nil, c.from, nil, c.to, 0); err != c.err {
			t.Errorf("rename %s to %s: %v, want %v", c.from, c.to, err, c.err)
		}
		if c.err == 0 && c.from == "f" && read(t, fs, c.to) != "f" {
			t.Errorf("rename %s to %s: the data is wrong", c.from, c.to)
		}
		want(t, fs.Rename(nil, "/hard", nil, "/full", RenameNoReplace), syscall.EEXIST)
		want(t, fs.Rename(nil, "/hard", nil, "/free", RenameNoReplace), 0)
		want(t, fs.Rename(nil, "/free", nil, "/other", 2), syscall.EINVAL)
	}
}

func TestReadDirWhileChanging(t *testing.T) {
	fs := newFS(t, 1<<20)
	want(t, fs.Mkdir(nil, "/d", 0o755), 0)
	for i := range 100 {
		write(t, fs, fmt.Sprintf("/d/%02d", i), "")
	}
	h := open(t, fs, "/d", OReadOnly|ODirectory)
	seen := names(t, h, 12)
	if !slices.Equal(seen[:3], []string{".", "..", "00"}) || seen[11] != "09" {
		t.Fatalf("first names: %v", seen)
	}
	for i := range 60 { // enough to have the order cleaned up
		want(t, fs.Unlink(nil, fmt.Sprintf("/d/%02d", i)), 0)
	}
	for i := range 200 {
		write(t, fs, fmt.Sprintf("/d/new%d", i), "")
	}
	want(t, fs.Rename(nil, "/d/70", nil, "/d/71", 0), 0) // 71 stays where it was
	rest := names(t, h, -1)
	if len(rest) != 39 || rest[0] != "60" || rest[38] != "99" || slices.Contains(rest, "70") || !slices.Contains(rest, "71") {
		t.Errorf("the rest: %v", rest)
	}
	if more := names(t, h, -1); len(more) != 0 {
		t.Errorf("at the end: %v", more)
	}
	_, err := h.SeekTo(0, SeekSet)
	want(t, err, 0)
	if all := names(t, h, -1); len(all) != 2+39+200 {
		t.Errorf("%d names from the beginning", len(all))
	}
}

func TestLimits(t *testing.T) {
	fs := newFS(t, 1<<20)
	name := strings.Repeat("n", 255)
	write(t, fs, "/"+name, "")
	_, err := fs.Open(nil, "/"+name+"n", OCreate, 0)
	want(t, err, syscall.ENAMETOOLONG)
	_, err = fs.Stat(nil, strings.Repeat("/", 4095), true)
	want(t, err, 0)
	_, err = fs.Stat(nil, strings.Repeat("/", 4096), true)
	want(t, err, syscall.ENAMETOOLONG)

	write(t, fs, "/l0", "end")
	for i := range 41 {
		want(t, fs.Symlink(fmt.Sprintf("l%d", i), nil, fmt.Sprintf("/l%d", i+1)), 0)
	}
	if read(t, fs, "/l40") != "end" {
		t.Error("40 links do not lead to the file")
	}
	_, err = fs.Stat(nil, "/l41", true)
	want(t, err, syscall.ELOOP)
}

func TestRemovedDirectory(t *testing.T) {
	fs := newFS(t, 1<<20)
	want(t, fs.Mkdir(nil, "/d", 0o755), 0)
	d := open(t, fs, "/d", OReadOnly)
	if path, err := d.Path(); path != "/d" || err != 0 {
		t.Errorf("Path: %q, %v", path, err)
	}
	want(t, fs.Rmdir(d, "../d"), 0)
	_, err := d.Path()
	want(t, err, syscall.ENOENT)
	_, err = fs.Open(d, "x", OCreate|OWriteOnly, 0o644)
	want(t, err, syscall.ENOENT)
	want(t, fs.Mkdir(d, "x", 0o755), syscall.ENOENT)
	want(t, d.ReadDir(func(DirEntry) bool { return true }), syscall.ENOENT)
	if s, err := fs.Stat(d, ".", true); err != 0 || s.Nlink != 0 {
		t.Errorf("Stat: %v, %v", s, err)
	}
	write(t, fs, "/f", "")
	want(t, fs.Rename(nil, "/f", d, "f", 0), syscall.ENOENT)
}

func TestTimes(t *testing.T) {
	fs := newFS(t, 1<<20)
	h := open(t, fs, "/f", OReadWrite|OCreate)
	before := h.Stat()
	h.Write([]byte("x"))
	after := h.Stat()
	if after.Mtime.Sec <= before.Mtime.Sec || after.Mtime != after.Ctime || after.Atime != before.Atime {
		t.Errorf("times before %v and after writing %v", before, after)
	}
	want(t, h.SetTimes(Time{Nsec: TimeOmit}, Time{5, 6}), 0)
	if s := h.Stat(); s.Atime != before.Atime || s.Mtime != (Time{5, 6}) {
		t.Errorf("times set: %v", s)
	}
	want(t, h.SetTimes(Time{Nsec: TimeNow}, Time{0, 1e9}), syscall.EINVAL)
	want(t, h.Chmod(0o4750), 0)
	if s := h.Stat(); s.Mode != ModeRegular|0o4750 {
		t.Errorf("mode %o", s.Mode)
	}
	h.Chown(3, ^uint32(0))
	if s := h.Stat(); s.UID != 3 || s.GID != 0 {
		t.Errorf("owner %d:%d", s.UID, s.GID)
	}
}

func TestImage(t *testing.T) {
	fs := newFS(t, NodeCost+NameCost)
	want(t, fs.AddFile("/usr/share/data", []byte("image"), 0o444), 0)
	want(t, fs.AddFile("/empty", nil, 0o444), 0)
	want(t, fs.AddDevice("/dev/null", 0x103, 0o666), 0)
	want(t, fs.AddDir("/tmp", 0o1777), 0)
	want(t, fs.AddFile("/empty/x", nil, 0), syscall.ENOTDIR)
	want(t, fs.AddFile("/tmp", nil, 0), syscall.EISDIR)
	for _, flags := range []int{OWriteOnly, OReadWrite, OReadOnly | OTruncate, OWriteOnly | OCreate} {
		_, err := fs.Open(nil, "/empty", flags, 0)
		want(t, err, syscall.EROFS)
	}
	want(t, fs.Truncate(nil, "/usr/share/data", 0), syscall.EROFS)
	h := open(t, fs, "/usr/share/data", OReadOnly)
	_, err := h.Write([]byte("x"))
	want(t, err, syscall.EBADF)
	if s := h.Stat(); !s.ReadOnly || s.Size != 5 || s.Mode != ModeRegular|0o444 {
		t.Errorf("%+v", s)
	}
	want(t, fs.AddFile("/usr/share/data", []byte("newer"), 0o444), 0)
	p := make([]byte, 10)
	if n, _ := h.ReadAt(p, 1); string(p[:n]) != "mage" {
		t.Errorf("the open file has %q", p[:n])
	}
	if s := read(t, fs, "/usr/share/data"); s != "newer" {
		t.Errorf("the new file has %q", s)
	}
	want(t, fs.Rename(nil, "/usr/share/data", nil, "/tmp/data", 0), 0)
	if used, _ := fs.Usage(); used != 0 {
		t.Errorf("%d bytes charged", used)
	}
	write(t, fs, "/f", "")
	want(t, fs.Rename(nil, "/tmp/data", nil, "/f", 0), 0)
	want(t, fs.Unlink(nil, "/f"), 0)
	if used, _ := fs.Usage(); used != 0 {
		t.Errorf("%d bytes charged", used)
	}
}
