package archive

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/nexus/newc"
)

func TestContentsLieAtPages(t *testing.T) {
	var want []File
	for i, size := range []int{0, 1, 3, 4, 4095, 4096, 4097, 100000} {
		want = append(want, File{Name: "dir/name"[:i+1] + "x", Data: bytes.Repeat([]byte{byte(i + 1)}, size), Mode: 0o600 + uint64(i)})
	}
	packed, err := Pack(want)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Pack(want)
	if !bytes.Equal(packed, again) {
		t.Error("equal input gave different archives")
	}
	rest := packed
	for {
		f, after, more, bad := newc.Next(rest)
		if bad {
			t.Fatal("the archive is damaged")
		}
		if !more {
			break
		}
		if !strings.HasPrefix(f.Name, Padding) {
			if f.Name != want[0].Name || !bytes.Equal(f.Data, want[0].Data) || uint64(f.Mode&0o777) != want[0].Mode {
				t.Errorf("got %s of %d bytes, want %s", f.Name, len(f.Data), want[0].Name)
			}
			if at := bytes.Index(packed, f.Data); len(f.Data) >= 4095 && at%pageSize != 0 {
				t.Errorf("%s lies at %#x", f.Name, at)
			}
			want = want[1:]
		}
		rest = after
	}
	if len(want) != 0 {
		t.Errorf("%d files are missing", len(want))
	}
}
