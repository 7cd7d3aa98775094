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
	copy(header, "QFI\xfb")
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

func empty(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
