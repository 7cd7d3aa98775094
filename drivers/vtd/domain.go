// This file owns what one device can reach: its addresses and its page tables.

package vtd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-os/sluice/drivers/hw"
)

// busFirst is the lowest address that a device is given. Below lie addresses that
// a device must not use or that the unit does not translate (messages that raise
// interrupts are at 0xfee0_0000), and those of the memory of small machines: one
// that is used by mistake is never mapped.
const busFirst = 1 << 32

// Domain is one device's way to memory: an hw.Bus. Its methods may be called
// concurrently.
type Domain struct {
	u      *Unit
	source Source
	number uint64
	root   table
	tables map[uint64]table // all below the root, by physical address
	// mapped are the device's segments by address. Between two there is a hole of
	// a page at least.
	mapped   []mapped
	attached bool // the unit knows of the domain
}

type mapped struct {
	addr, size uint64
	phys       uint64
}

var _ hw.Bus = (*Domain)(nil)

// Domain returns the way to memory of a device behind the unit, which reaches
// nothing yet. There is one for each device.
func (u *Unit) Domain(s Source) (*Domain, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, d := range u.domains {
		if d.source == s {
			return d, nil
		}
	}
	// Number 0 is left out: with caching mode it stands for entries that are not
	// present (6.1).
	if len(u.domains)+1 >= u.cap.Domains {
		return nil, fmt.Errorf("%v: the iommu at %#x tells no more than %d devices apart", s, u.base, u.cap.Domains-1)
	}
	root, err := u.newTable()
	if err != nil {
		return nil, fmt.Errorf("%v: iommu at %#x: %w", s, u.base, err)
	}
	d := &Domain{u: u, source: s, number: uint64(len(u.domains) + 1), root: root, tables: map[uint64]table{}}
	u.domains = append(u.domains, d)
	return d, nil
}

// Map implements hw.Bus.
func (d *Domain) Map(s hw.Segment, way hw.Direction) (uint64, error) {
	d.u.mu.Lock()
	defer d.u.mu.Unlock()
	addr, err := d.mapSegment(s, way)
	if err != nil {
		return 0, fmt.Errorf("iommu, %v: %w", d.source, err)
	}
	return addr, nil
}

func (d *Domain) mapSegment(s hw.Segment, way hw.Direction) (uint64, error) {
	u := d.u
	if u.broken != nil {
		return 0, u.broken
	}
	size := uint64(len(s.Bytes))
	if size == 0 || size%hw.PageSize != 0 || s.Phys&^addrMask != 0 || s.Phys+size-1 > addrMask|(hw.PageSize-1) || way == 0 || way&^hw.Both != 0 {
		return 0, fmt.Errorf("%d bytes at %#x, %v: want whole pages and a direction", size, s.Phys, way)
	}
	addr, index, err := d.place(size)
	if err != nil {
		return 0, err
	}
	if err := d.fill(addr, size, s.Phys|u.rights(way)); err != nil {
		// Nobody has been told the address: what was written is taken back, and
		// a unit that has seen it forgets it.
		if undo := d.empty(addr, size); undo != nil {
			err = errors.Join(err, undo)
		}
		return 0, err
	}
	if !d.attached {
		err = d.attach()
	} else if u.cap.caching {
		err = u.invalidate(d.iotlb())
	}
	if err != nil {
		return 0, errors.Join(err, d.empty(addr, size))
	}
	d.mapped = slices.Insert(d.mapped, index, mapped{addr, size, s.Phys})
	return addr, nil
}

// Unmap implements hw.Bus.
func (d *Domain) Unmap(addr uint64, s hw.Segment) error {
	d.u.mu.Lock()
	defer d.u.mu.Unlock()
	i, found := slices.BinarySearchFunc(d.mapped, addr, func(m mapped, addr uint64) int {
		return cmp.Compare(m.addr, addr)
	})
	if !found || d.mapped[i].phys != s.Phys || d.mapped[i].size != uint64(len(s.Bytes)) {
		return fmt.Errorf("iommu, %v: %d bytes at %#x are not mapped at %#x", d.source, len(s.Bytes), s.Phys, addr)
	}
	if err := d.empty(addr, d.mapped[i].size); err != nil {
		return fmt.Errorf("iommu, %v: %w", d.source, err)
	}
	d.mapped = slices.Delete(d.mapped, i, i+1)
	return nil
}

// place returns the lowest address with room for size bytes and a hole behind
// them, and where in the list it comes.
func (d *Domain) place(size uint64) (addr uint64, index int, err error) {
	addr = busFirst
	for i, m := range d.mapped {
		if m.addr-addr >= size+hw.PageSize {
			return addr, i, nil
		}
		addr = m.addr + m.size + hw.PageSize
	}
	// The last page of all stays free, so that the end is no special case.
	if end := uint64(1) << d.u.cap.Bits; size+hw.PageSize > end-addr {
		return 0, 0, fmt.Errorf("no room for %d bytes among addresses of %d bits", size, d.u.cap.Bits)
	}
	return addr, len(d.mapped), nil
}

// rights returns the bits of a page table entry.
func (u *Unit) rights(way hw.Direction) (bits uint64) {
	if way&hw.ToDevice != 0 {
		bits |= pageRead
	}
	if way&hw.FromDevice != 0 {
		bits |= pageWrite
	}
	if u.cap.snoop {
		bits |= pageSnoop
	}
	return bits
}

// fill writes the entries of size bytes at addr; entry is the first page's.
func (d *Domain) fill(addr, size, entry uint64) error {
	for off := uint64(0); off < size; off += hw.PageSize {
		t, err := d.leaf(addr+off, true)
		if err != nil {
			return err
		}
		d.u.set(t, int((addr+off)>>pageShift%entriesPerTable), entry+off)
	}
	return nil
}

// empty clears the entries of size bytes at addr and makes the unit forget them.
// Tables stay for the next segment: addresses are given from the lowest on, so that
// there are never more than the most that was mapped at once took.
func (d *Domain) empty(addr, size uint64) error {
	for off := uint64(0); off < size; off += hw.PageSize {
		if t, err := d.leaf(addr+off, false); err == nil && t.words != nil {
			d.u.set(t, int((addr+off)>>pageShift%entriesPerTable), 0)
		}
	}
	return d.u.invalidate(d.iotlb())
}

// leaf returns the table that holds the entry of addr, making those above it when
// grow is set. Without grow it may be none.
func (d *Domain) leaf(addr uint64, grow bool) (table, error) {
	t := d.root
	for level := d.u.cap.Levels - 1; level > 0; level-- {
		i := int(addr >> (pageShift + level*bitsPerLevel) % entriesPerTable)
		if entry := t.words[i]; entry != 0 {
			t = d.tables[entry&addrMask]
			continue
		}
		if !grow {
			return table{}, nil
		}
		next, err := d.u.newTable()
		if err != nil {
			return table{}, err
		}
		d.tables[next.phys] = next
		d.u.set(t, i, next.phys|pageRead|pageWrite)
		t = next
	}
	return t, nil
}

// attach shows the unit the domain (9.1, 9.3): the root table's entry leads to the
// bus's context table, whose entry leads to the page tables.
func (d *Domain) attach() error {
	u := d.u
	bus := uint8(d.source >> 8)
	context, ok := u.context[bus]
	if !ok {
		var err error
		if context, err = u.newTable(); err != nil {
			return err
		}
		u.context[bus] = context
		u.set(u.root, 2*int(bus), context.phys|rootPresent)
	}
	i := 2 * int(d.source&0xff)
	u.set(context, i+1, uint64(u.cap.Levels-2)<<contextAWShift|d.number<<contextDIDShift)
	u.set(context, i, d.root.phys|contextPresent)
	d.attached = true
	// A unit in caching mode may remember that there was nothing, another one
	// loses nothing by this.
	return u.invalidate(
		descriptor{invalidateContext | granularityDevice | d.number<<descriptorDIDShift | uint64(d.source)<<descriptorSIDShift, 0},
		d.iotlb(),
	)
}

// iotlb makes the unit forget all translations of the domain.
func (d *Domain) iotlb() descriptor {
	return descriptor{invalidateIOTLB | granularityDomain | d.u.cap.drain | d.number<<descriptorDIDShift, 0}
}
