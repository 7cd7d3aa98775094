package cpu

// Protect turns on what the processor has to keep ring 0 from running or
// touching what belongs to ring 3, and FSGSBASE. It returns what is missing,
// by name.
func Protect() (missing []string) {
	_, b, c, _ := CPUID(7, 0)
	cr4 := ReadCR4()
	for _, f := range [...]struct {
		name string
		has  bool
		bit  uint64
	}{
		{"FSGSBASE", b&(1<<0) != 0, CR4FSGSBASE},
		{"SMEP", b&(1<<7) != 0, CR4SMEP},
		{"SMAP", b&(1<<20) != 0, CR4SMAP},
		{"UMIP", c&(1<<2) != 0, CR4UMIP},
	} {
		if f.has {
			cr4 |= f.bit
		} else {
			missing = append(missing, f.name)
		}
	}
	_, _, c, d := CPUID(1, 0)
	if d&(1<<7) != 0 {
		cr4 |= CR4MCE // else a machine check ends it all without a word
	}
	WriteCR4(cr4)
	if c&(1<<30) == 0 {
		missing = append(missing, "RDRAND")
	}
	return missing
}
