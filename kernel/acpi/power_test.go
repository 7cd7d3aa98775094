package acpi

import (
	"reflect"
	"testing"
)

func TestPowerOff(t *testing.T) {
	port := func(at uint64) Register { return Register{SystemIO, 16, at} }
	for _, c := range []struct {
		name string
		info Info
		want PowerOff
		err  error
	}{
		{"both PM1 registers: types first", Info{
			FADT:    &FADT{PM1aControl: port(0x404), PM1bControl: port(0x504)},
			SoftOff: &SleepType{5, 6},
		}, PowerOff{Writes: []Access{
			{port(0x404), 0xc3ff, 5 << 10}, {port(0x504), 0xc3ff, 6 << 10},
			{port(0x404), 0xc3ff, 5<<10 | 1<<13}, {port(0x504), 0xc3ff, 6<<10 | 1<<13},
		}}, nil},
		{"PM1 in memory, of a width that is not given", Info{
			FADT:    &FADT{PM1aControl: Register{SystemMemory, 0, 0xfed10004}, SMICommand: 0xb2, ACPIEnable: 0xa0},
			SoftOff: &SleepType{7, 0},
		}, PowerOff{
			Enable: &Enable{Access{Register{SystemIO, 8, 0xb2}, 0, 0xa0}, Register{SystemMemory, 16, 0xfed10004}, 1},
			Writes: []Access{
				{Register{SystemMemory, 16, 0xfed10004}, 0xc3ff, 7 << 10}, {Register{SystemMemory, 16, 0xfed10004}, 0xc3ff, 7<<10 | 1<<13},
			},
		}, nil},
		{"no value to enable ACPI with", Info{
			FADT:    &FADT{PM1aControl: port(0x404), SMICommand: 0xb2},
			SoftOff: &SleepType{},
		}, PowerOff{Writes: []Access{{port(0x404), 0xc3ff, 0}, {port(0x404), 0xc3ff, 1 << 13}}}, nil},
		{"hardware-reduced in ports", Info{
			FADT: &FADT{
				HardwareReduced: true, SleepControl: Register{SystemIO, 0, 0x600}, SleepStatus: Register{SystemIO, 8, 0x601},
			},
			SoftOff: &SleepType{5, 0},
		}, PowerOff{Writes: []Access{{Register{SystemIO, 8, 0x601}, 0, 0x80}, {Register{SystemIO, 8, 0x600}, 0, 0x34}}}, nil},
		{"hardware-reduced without a status", Info{
			FADT:    &FADT{HardwareReduced: true, SleepControl: Register{SystemMemory, 8, 0xfea00200}},
			SoftOff: &SleepType{5, 0},
		}, PowerOff{Writes: []Access{{Register{SystemMemory, 8, 0xfea00200}, 0, 0x34}}}, nil},
		{"no FADT", Info{SoftOff: &SleepType{}}, PowerOff{}, errNoFADT},
		{"no _S5_", Info{FADT: &FADT{PM1aControl: port(0x404)}}, PowerOff{}, errNoSleep},
		{"no PM1a", Info{FADT: &FADT{PM1bControl: port(0x504)}, SoftOff: &SleepType{}}, PowerOff{}, errNoPM1},
		{"PM1a half behind the last port", Info{FADT: &FADT{PM1aControl: port(0xffff)}, SoftOff: &SleepType{}}, PowerOff{}, errNoPM1},
		{"PM1a in PCI configuration space", Info{
			FADT: &FADT{PM1aControl: Register{PCIConfig, 16, 0x404}}, SoftOff: &SleepType{},
		}, PowerOff{}, errNoPM1},
		{"hardware-reduced without a control", Info{
			FADT: &FADT{HardwareReduced: true, PM1aControl: port(0x404)}, SoftOff: &SleepType{},
		}, PowerOff{}, errNoSleeps},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := c.info.PowerOff(); err != c.err || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v, %v\nwant %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestReset(t *testing.T) {
	for _, c := range []struct {
		name string
		fadt *FADT
		want Access
		err  error
	}{
		{"a port", &FADT{Reset: Register{SystemIO, 8, 0xcf9}, ResetValue: 6}, Access{Register{SystemIO, 8, 0xcf9}, 0, 6}, nil},
		{"memory", &FADT{Reset: Register{SystemMemory, 8, 0xfea00202}, ResetValue: 0x42}, Access{Register{SystemMemory, 8, 0xfea00202}, 0, 0x42}, nil},
		{"the last port", &FADT{Reset: Register{SystemIO, 32, 0xffff}}, Access{Register{SystemIO, 8, 0xffff}, 0, 0}, nil},
		{"PCI configuration space", &FADT{Reset: Register{PCIConfig, 8, 0xcf9}}, Access{}, errNoReset},
		{"none", &FADT{}, Access{}, errNoReset},
		{"no FADT", nil, Access{}, errNoFADT},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := (&Info{FADT: c.fadt}).Reset(); err != c.err || got != c.want {
				t.Errorf("got %+v, %v, want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestAccessKeepsOtherBits(t *testing.T) {
	a := Access{Keep: 0xffff &^ (pm1TypeMask | pm1Enable), Set: 5 << pm1TypeShift}
	if got, want := a.Value(0xffff), uint16(0xd7ff); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}
