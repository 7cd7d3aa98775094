package newc

import (
	"bytes"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

// archive is what u-root's package writes.
func archive(t testing.TB, records ...cpio.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	if err := cpio.WriteRecords(w, records); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadsWhatURootWrites(t *testing.T) {
	want := map[string]string{"a": "", "dir/b": "x", "c.txt": "hello", "long": string(make([]byte, 5000))}
	var records []cpio.Record
	for name, text := range want {
		records = append(records, cpio.StaticFile(name, text, 0o644))
	}
	rest, more, bad := archive(t, records...), true, false
	got := map[string]string{}
	for {
		var f File
		f, rest, more, bad = Next(rest)
		if !more {
			break
		}
		if f.Mode&0o777 != 0o644 {
			t.Errorf("%s has mode %o", f.Name, f.Mode)
		}
		got[f.Name] = string(f.Data)
	}
	if bad || len(got) != len(want) {
		t.Fatalf("read %d files, bad %v", len(got), bad)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s is %q", name, got[name])
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add(archive(f, cpio.StaticFile("a", "hello", 0o644)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		for more := true; more; {
			before := len(b)
			if _, b, more, _ = Next(b); more && len(b) >= before {
				t.Fatal("no progress")
			}
		}
	})
}
