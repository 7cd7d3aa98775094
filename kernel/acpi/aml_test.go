package acpi

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// id and crs are the names of a virtio-mmio device, as AML.
const (
	id  = "\x08_HID\x0dLNRO0005\x00"
	crs = "\x08_CRS\x11\x1a\x0a\x17\x86\x09\x00\x01\x00\x2e\xb0\xfe\x00\x02\x00\x00\x89\x06\x00\x07\x01\x2f\x00\x00\x00\x79\x00"
)

// device is a Device term.
func device(body string) string {
	n := len(body) + 4 + 2 // a name and two bytes of length
	return "\x5b\x82" + string([]byte{0x40 | byte(n&15), byte(n >> 4)}) + "VR00" + body
}

func TestAML(t *testing.T) {
	for _, c := range []struct {
		name, aml, problem string
		virtio             int
		off                *SleepType
	}{
		{"a device", device(id + crs), "", 1, nil},
		{"resources ahead of the name", device(crs + id), "", 1, nil},
		{"two devices with the same registers", device(id+crs) + device(id+crs), "another device's", 1, nil},
		{"a device behind another", device(crs) + device(id+crs), "", 1, nil},
		{"no device around", id + crs, "no Device is around it", 0, nil},
		{"resources of the next device", device(id) + device(crs), "no _CRS", 0, nil},
		{"resources from a method", device(id + "\x08_CRSCALL"), "not a constant buffer", 0, nil},
		{"a buffer that is cut off", device(id + crs[:20]), "not a constant buffer", 0, nil},
		{"no memory", device(id + "\x08_CRS\x11\x0e\x0a\x0b\x89\x06\x00\x07\x01\x2f\x00\x00\x00\x79\x00"), "no memory range", 0, nil},
		{"no interrupt", device(id + "\x08_CRS\x11\x11\x0a\x0e\x86\x09\x00\x01\x00\x2e\xb0\xfe\x00\x02\x00\x00\x79\x00"), "no interrupt", 0, nil},
		{"a descriptor that is cut off", device(id + "\x08_CRS\x11\x07\x0a\x04\x86\x09\x00\x01"), "cut off", 0, nil},
		{"sleep types", "\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00", "", 0, &SleepType{5, 6}},
		{"sleep types at the root", "\x08\\_S5_\x12\x05\x02\x01\x0a\x02", "", 0, &SleepType{1, 2}},
		{"one sleep type", "\x08_S5_\x12\x04\x01\x0a\x07", "", 0, &SleepType{7, 0}},
		{"a sleep type of 8", "\x08_S5_\x12\x04\x01\x0a\x08", "", 0, nil},
		{"an empty package", "\x08_S5_\x12\x02\x00", "", 0, nil},
		{"a package that is cut off", "\x08_S5_\x12\x08\x04\x0a\x05", "", 0, nil},
		{"a name at the end", "\x08_S5_", "", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := Parse(0, machine(fadtBody(116, func([]byte) {}), table("SSDT", []byte(c.aml)...)).read)
			if len(info.VirtIO) != c.virtio || (info.SoftOff == nil) != (c.off == nil) || c.off != nil && *info.SoftOff != *c.off {
				t.Errorf("devices %+v, sleep %v", info.VirtIO, info.SoftOff)
			}
			if all := strings.Join(info.Problems, "\n"); !strings.Contains(all, c.problem) || c.problem == "" && all != "" {
				t.Errorf("problems %q, want %q", all, c.problem)
			}
			for _, v := range info.VirtIO {
				if want := (VirtIO{0xfeb02e00, 512, 0x2f, false, true}); v != want {
					t.Errorf("got %+v, want %+v", v, want)
				}
			}
		})
	}
}

// TestDevicesAreBounded counts bad devices as well: each is searched for
// resources to the end of its table, and a table may hold 280,000.
func TestDevicesAreBounded(t *testing.T) {
	var aml []byte
	for i := range virtioMax + 5 {
		d := []byte(device(id + crs))
		d[bytes.Index(d, []byte("\x2e\xb0\xfe"))-1+2] = byte(i) // its own page or so of registers
		aml = append(aml, d...)
	}
	for _, c := range []struct {
		name     string
		tables   [][]byte
		devices  int
		problems int // besides the missing FADT
	}{
		{"good ones", [][]byte{table("SSDT", aml...)}, virtioMax, 1},
		{"bad ones", [][]byte{table("SSDT", bytes.Repeat([]byte(id), 5*virtioMax)...)}, 0, virtioMax + 1},
		{"bad ones in two tables", [][]byte{
			table("SSDT", bytes.Repeat([]byte(id), virtioMax-1)...), table("SSDT", bytes.Repeat([]byte(id), virtioMax)...),
		}, 0, virtioMax + 1},
	} {
		info := Parse(0, machine(c.tables...).read)
		if n := len(info.Problems) + info.MoreProblems - 1; len(info.VirtIO) != c.devices || n != c.problems {
			t.Errorf("%s: %d devices, %d problems %q", c.name, len(info.VirtIO), n, info.Problems)
		}
	}
}

func TestDSDTComesBeforeSSDT(t *testing.T) {
	dsdt := table("DSDT", []byte("\x08_S5_\x12\x05\x02\x0a\x05\x00")...)
	ssdt := table("SSDT", []byte("\x08_S5_\x12\x05\x02\x0a\x07\x00")...)
	m := machine(ssdt, fadtBody(116, func(b []byte) { binary.LittleEndian.PutUint32(b[fadtDSDT:], 0x2000) }))
	m[0x2000] = dsdt
	if info := Parse(0, m.read); info.SoftOff == nil || info.SoftOff.A != 5 {
		t.Errorf("sleep type %+v, problems %q", info.SoftOff, info.Problems)
	}
}
