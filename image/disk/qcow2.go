package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The format qcow2, version 2 (QEMU, docs/interop/qcow2.txt): big endian, in clusters. What
// is not there reads as zeros.
const (
	clusterBits = 16
	clusterSize = 1 << clusterBits
	// copied marks a cluster that one entry alone refers to.
	copied = 1 << 63
)

// WriteQCOW2 makes a disk as Write does, in QEMU's format. It returns the file's size.
func WriteQCOW2(name string, c Contents) (size int64, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	raw := filepath.Join(dir, "raw")
	length, err := Write(raw, c)
	if err != nil {
		return 0, err
	}
	in, err := os.Open(raw)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	size, err = convert(out, in, length)
	if e := out.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(name)
	}
	return size, err
}

// convert writes a disk of length bytes. The file has a header, the table of tables, the
// tables of clusters, the data, and what counts the references to all of these.
func convert(out io.WriterAt, in io.ReaderAt, length int64) (size int64, err error) {
	const perTable = clusterSize / 8
	clusters := (length + clusterSize - 1) / clusterSize
	tables := (clusters + perTable - 1) / perTable
	if tables > perTable {
		return 0, fmt.Errorf("a disk of %d bytes is too large for one table of tables", length)
	}
	next := 2 + tables // the first cluster that is free
	l1 := make([]byte, clusterSize)
	l2 := make([]byte, tables*clusterSize)
	for i := range tables {
		binary.BigEndian.PutUint64(l1[8*i:], uint64((2+i)*clusterSize)|copied)
	}
	buf := make([]byte, clusterSize)
	for i := range clusters {
		clear(buf)
		if _, err := in.ReadAt(buf, i*clusterSize); err != nil && err != io.EOF {
			return 0, err
		}
		if empty(buf) {
			continue
		}
		if _, err := out.WriteAt(buf, next*clusterSize); err != nil {
			return 0, err
		}
		binary.BigEndian.PutUint64(l2[8*i:], uint64(next*clusterSize)|copied)
		next++
	}
	// Counts take 2 bytes; blocks of them and their table are counted too.
	const perBlock = clusterSize / 2
	blocks := int64(0)
	for blocks*perBlock < next+1+blocks {
		blocks++
	}
	tableAt, total := next, next+1+blocks
	table, counts := make([]byte, clusterSize), make([]byte, blocks*clusterSize)
	for i := range blocks {
		binary.BigEndian.PutUint64(table[8*i:], uint64((tableAt+1+i)*clusterSize))
	}
	for i := range total {
		binary.BigEndian.PutUint16(counts[2*i:], 1)
	}
	header := make([]byte, clusterSize)
	copy(header, qcow2Magic)
	for _, f := range []struct {
		at    int
		value uint32
	}{
		{4, 2}, {20, clusterBits}, {36, uint32(tables)}, {56, 1},
	} {
		binary.BigEndian.PutUint32(header[f.at:], f.value)
	}
	binary.BigEndian.PutUint64(header[24:], uint64(length))
	binary.BigEndian.PutUint64(header[40:], clusterSize)
	binary.BigEndian.PutUint64(header[48:], uint64(tableAt*clusterSize))
	for _, w := range []struct {
		data []byte
		at   int64
	}{{header, 0}, {l1, 1}, {l2, 2}, {table, tableAt}, {counts, tableAt + 1}} {
		if _, err := out.WriteAt(w.data, w.at*clusterSize); err != nil {
			return 0, err
		}
	}
	return total * clusterSize, nil
}

// expand writes the disk that a file which convert has made holds; of others it takes those
// alone that have the same form.
func expand(out interface {
	io.WriterAt
	Truncate(size int64) error
}, in io.ReaderAt) error {
	header := make([]byte, 72)
	if _, err := in.ReadAt(header, 0); err != nil {
		return fmt.Errorf("qcow2: %w", err)
	}
	word := func(at int) uint32 { return binary.BigEndian.Uint32(header[at:]) }
	long := func(at int) uint64 { return binary.BigEndian.Uint64(header[at:]) }
	const perTable = clusterSize / 8
	length, tables := long(24), uint64(word(36))
	if word(4) != 2 || long(8) != 0 || word(20) != clusterBits || word(32) != 0 || word(60) != 0 ||
		tables > perTable || length > tables*perTable*clusterSize {
		return fmt.Errorf("qcow2: not as image build writes it: turn it into a raw disk with qemu-img convert -O raw")
	}
	if err := out.Truncate(int64(length)); err != nil {
		return err
	}
	// cluster reads one that an entry of a table refers to; nil is one of zeros.
	cluster := func(entry uint64) ([]byte, error) {
		at := entry &^ copied
		if at == 0 {
			return nil, nil
		}
		if at%clusterSize != 0 || at > 1<<62 {
			return nil, fmt.Errorf("qcow2: a cluster at %#x", at)
		}
		b := make([]byte, clusterSize)
		_, err := in.ReadAt(b, int64(at))
		return b, err
	}
	l1, err := cluster(long(40))
	if err != nil {
		return err
	}
	for i := range uint64(len(l1)) / 8 {
		l2, err := cluster(binary.BigEndian.Uint64(l1[8*i:]))
		if err != nil {
			return err
		}
		for j := range uint64(len(l2)) / 8 {
			data, err := cluster(binary.BigEndian.Uint64(l2[8*j:]))
			if err != nil {
				return err
			}
			if data == nil {
				continue
			}
			at := (i*perTable + j) * clusterSize
			if at >= length {
				return fmt.Errorf("qcow2: a cluster behind the disk's end")
			}
			if _, err := out.WriteAt(data[:min(clusterSize, length-at)], int64(at)); err != nil {
				return err
			}
		}
	}
	return nil
}

func empty(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
