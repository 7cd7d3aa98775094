// Package archive writes the cpio archive in which domains travel in an image.
package archive

import (
	"bytes"
	"fmt"

	"github.com/u-root/u-root/pkg/cpio"
)

const pageSize = 4096

// File is one entry to write.
type File struct {
	Name string
	Data []byte
	Mode uint64 // permissions; 0 means 0644
}

// Pack writes an archive in which the content of each file begins at a multiple
// of 4096, so that it can be mapped where it lies. Entries whose names begin
// with Padding lie between them. Equal input gives equal bytes.
func Pack(files []File) ([]byte, error) {
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	add := func(name string, data []byte, mode uint64) error {
		return w.WriteRecord(cpio.StaticRecord(data, cpio.Info{Name: name, Mode: cpio.S_IFREG | mode, NLink: 1}))
	}
	for i, f := range files {
		f.Name = cpio.Normalize(f.Name)
		padding := fmt.Sprintf("%s%04d", Padding, i)
		// A padding entry of size n moves what follows by its own header and n.
		header := int64(headerSize(f.Name))
		pad := headerSize(padding)
		n := -(int64(b.Len()) + pad + header) & (pageSize - 1)
		if err := add(padding, make([]byte, n), 0o644); err != nil {
			return nil, err
		}
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
		}
		if err := add(f.Name, f.Data, mode); err != nil {
			return nil, err
		}
		if at := int64(b.Len()) - align(int64(len(f.Data))); at%pageSize != 0 {
			return nil, fmt.Errorf("archive: %s lies at %#x, not at a page: this is a mistake in package archive", f.Name, at)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Padding begins the names of entries that only fill pages up.
const Padding = ".pad/"

func align(n int64) int64 { return (n + 3) &^ 3 }

// headerSize is what an entry takes before its content: 110 bytes and the name
// with its zero byte, to a multiple of 4.
func headerSize(name string) int64 { return align(110 + int64(len(name)) + 1) }
