// Package newc reads cpio archives of the format "newc" (cpio(5), "New ASCII
// Format") where they lie, without copying. It imports nothing, so that the
// kernel and the standard library of a domain can both use it.
package newc

// File is one entry of an archive. Name and Data refer to the archive.
type File struct {
	Name string
	Mode uint32 // Unix file type and permissions
	Data []byte
}

const (
	magic      = "070701"
	headerSize = 110
	trailer    = "TRAILER!!!"

	fieldMode     = 1 // fields of eight hexadecimal digits behind the magic
	fieldFileSize = 6
	fieldNameSize = 11
)

// Next returns the first entry of an archive and what follows it. At the
// trailer and at the end more is false; so it is, with bad set, where the bytes
// are no entry.
func Next(archive []byte) (f File, rest []byte, more, bad bool) {
	if len(archive) == 0 {
		return f, nil, false, false
	}
	if len(archive) < headerSize || string(archive[:len(magic)]) != magic {
		return f, nil, false, true
	}
	mode, ok1 := field(archive, fieldMode)
	size, ok2 := field(archive, fieldFileSize)
	nameSize, ok3 := field(archive, fieldNameSize)
	if !ok1 || !ok2 || !ok3 || nameSize == 0 {
		return f, nil, false, true
	}
	// All sums fit: each part is below 1<<32, and int has 64 bits.
	data := align(headerSize + int(nameSize))
	end := data + int(size)
	if end > len(archive) {
		return f, nil, false, true
	}
	name := archive[headerSize : headerSize+int(nameSize)]
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	if string(name) == trailer {
		return f, nil, false, false
	}
	f = File{string(name), mode, archive[data:end:end]}
	return f, archive[min(align(end), len(archive)):], true, false
}

// align rounds up to the format's multiple of 4.
func align(n int) int { return (n + 3) &^ 3 }

// field returns the n-th number of a header.
func field(header []byte, n int) (v uint32, ok bool) {
	for _, c := range header[len(magic)+8*n:][:8] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint32(c)
	}
	return v, true
}
