package fib

// This file owns prefixes that end within the root.

// brief is a prefix of up to rootBits bits.
type brief struct {
	first uint16 // slot
	bits  int8
}

// insertBrief writes a prefix into all slots that have none that is longer.
func (t *tree) insertBrief(hi uint64, length int, value uint32) (replaced bool) {
	first := hi >> (64 - rootBits)
	k := brief{uint16(first), int8(length)}
	if _, replaced = t.brief[k]; !replaced {
		t.count++
	}
	t.brief[k] = value
	for i := range slots(length) {
		if s := &t.root[first+uint64(i)]; int(s.bits) <= length {
			s.value, s.bits = value, int8(length)
		}
	}
	return replaced
}

// removeBrief writes the next shorter prefix in its place.
func (t *tree) removeBrief(hi uint64, length int) bool {
	first := hi >> (64 - rootBits)
	k := brief{uint16(first), int8(length)}
	if _, ok := t.brief[k]; !ok {
		return false
	}
	delete(t.brief, k)
	t.count--
	value, shorter := uint32(0), none
	for n := length - 1; n >= 0; n-- {
		if v, ok := t.brief[brief{uint16(first >> (rootBits - n) << (rootBits - n)), int8(n)}]; ok {
			value, shorter = v, n
			break
		}
	}
	for i := range slots(length) {
		if s := &t.root[first+uint64(i)]; int(s.bits) == length {
			s.value, s.bits = value, int8(shorter)
		}
	}
	return true
}

// slots is how many slots a prefix has, from its first on.
func slots(length int) int { return 1 << (rootBits - length) }
