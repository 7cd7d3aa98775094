package options

import (
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func addrs(text ...string) []netip.Addr {
	var list []netip.Addr
	for _, s := range text {
		list = append(list, netip.MustParseAddr(s))
	}
	return list
}

func TestParse(t *testing.T) {
	with := func(change func(*Options)) Options {
		o := Default()
		change(&o)
		return o
	}
	for _, tt := range []struct {
		line string
		want Options
	}{
		{"", Default()},
		{" \t\n", Default()},
		{"ip=dhcp ip6=auto log=info iommu=on panic=exit", Default()},
		{"iommu=off", with(func(o *Options) { o.NoIOMMU = true })},
		{"iommu=off iommu=on", Default()},
		{"intx=off", with(func(o *Options) { o.NoLines = true })},
		{"intx=off intx=on", Default()},
		{"qdisc=fifo", with(func(o *Options) { o.FIFO = true })},
		{"qdisc=fifo qdisc=aqm", Default()},
		{"ip=192.0.2.5/24", with(func(o *Options) {
			o.IPv4 = IPv4{Address: netip.MustParsePrefix("192.0.2.5/24")}
		})},
		{"ip=192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.53,dns=2001:db8::53", with(func(o *Options) {
			o.IPv4 = IPv4{
				Address: netip.MustParsePrefix("192.0.2.5/24"),
				Gateway: netip.MustParseAddr("192.0.2.1"),
				DNS:     addrs("192.0.2.53", "2001:db8::53"),
			}
		})},
		{"ip=192.0.2.0/31", with(func(o *Options) {
			o.IPv4 = IPv4{Address: netip.MustParsePrefix("192.0.2.0/31")}
		})},
		{"ip6=off", with(func(o *Options) { o.IPv6 = IPv6{} })},
		{"ip6=2001:db8::5/64", with(func(o *Options) {
			o.IPv6 = IPv6{Address: netip.MustParsePrefix("2001:db8::5/64")}
		})},
		{"log=debug", with(func(o *Options) { o.Log = slog.LevelDebug })},
		{"# log=warn\r\n log=debug # ip6=off\n#ip6=off\n", with(func(o *Options) { o.Log = slog.LevelDebug })},
		{"log=debug log=warn", with(func(o *Options) { o.Log = slog.LevelWarn })},
		{"panic=reboot", with(func(o *Options) { o.Panic = PanicReboot })},
		{"panic=halt", with(func(o *Options) { o.Panic = PanicHalt })},
		{"virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:1", with(func(o *Options) {
			o.Devices = []MMIODevice{
				{Base: 0xfeb00e00, Size: 512, IRQ: 12},
				{Base: 0xd0000000, Size: 4096, IRQ: 5},
			}
		})},
	} {
		got, problems := Parse(tt.line)
		if len(problems) != 0 {
			t.Errorf("Parse(%q): problems %q", tt.line, problems)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Parse(%q)\n got %+v\nwant %+v", tt.line, got, tt.want)
		}
	}
}

func TestParseReportsAndKeepsDefault(t *testing.T) {
	for _, tt := range []struct{ word, want string }{
		{"quiet", "key=value"},
		{"colour=red", "unknown key"},
		{"run=", "want the name of a domain"},
		{"ip=", "want dhcp"},
		{"ip=192.0.2.5", "want dhcp"},
		{"ip=2001:db8::5/64", "want dhcp"},
		{"ip=192.0.2.0/24", "network"},
		{"ip=192.0.2.255/24", "broadcast"},
		{"ip=192.0.2.5/0", "prefix length 0"},
		{"ip=224.0.0.1/24", "unicast"},
		{"ip=127.0.0.1/8", "unicast"},
		{"ip=192.0.2.5/24,gw=198.51.100.1", "not a neighbour"},
		{"ip=192.0.2.5/24,gw=192.0.2.5", "not a neighbour"},
		{"ip=192.0.2.5/24,dns=", "want dhcp"},
		{"ip=192.0.2.5/24,dns=0.0.0.0", "unicast"},
		{"ip=192.0.2.5/24,dns=10.0.0.1,dns=10.0.0.2,dns=10.0.0.3,dns=10.0.0.4", "more than 3"},
		{"ip=192.0.2.5/24,mtu=9000", "want dhcp"},
		{"ip6=on", "want auto"},
		{"nic=wan", "want NAME@PATH"},
		{"nic=wan@", "want NAME@PATH"},
		{"nic=wan@slot-3", "want NAME@PATH"},
		{"nic=@00:03.0", "the name"},
		{"nic=lo@00:03.0", "the name"},
		{"nic=Wan@00:03.0", "the name"},
		{"nic=abcdefghijklmnop@00:03.0", "the name"},
		{"ip.=dhcp", "the name"},
		{"ip.3=dhcp", "the name"},
		{"ip.wan=192.0.2.0/24", "network"},
		{"ip6.wan=on", "want auto"},
		{"log.wan=debug", "unknown key"},
		{"ip6=192.0.2.5/24", "want auto"},
		{"ip6=ff02::1/64", "unicast"},
		{"log=loud", "want debug"},
		{"iommu=", "want on or off"},
		{"intx=poll", "want on or off"},
		{"iommu=force", "want on or off"},
		{"qdisc=", "want aqm or fifo"},
		{"qdisc=red", "want aqm or fifo"},
		{"panic=dance", "want reboot"},
		{"virtio_mmio.device=512", "want SIZE@ADDR:IRQ"},
		{"virtio_mmio.device=512@0xfeb00000", "want SIZE@ADDR:IRQ"},
		{"virtio_mmio.device=x@0xfeb00000:5", "want SIZE@ADDR:IRQ"},
		{"virtio_mmio.device=512@0xfeb00000:5:x", "want SIZE@ADDR:IRQ"},
		{"virtio_mmio.device=16@0xfeb00000:5", "size 16"},
		{"virtio_mmio.device=4096M@0xfeb00000:5", "size"},
		{"virtio_mmio.device=512@0xffffffffffffff00:5", "address"},
		{"virtio_mmio.device=512@0:5", "address"},
	} {
		got, problems := Parse(tt.word)
		if len(problems) != 1 || !strings.Contains(problems[0], tt.want) {
			t.Errorf("Parse(%q): problems %q, want one with %q", tt.word, problems, tt.want)
		}
		if !reflect.DeepEqual(got, Default()) {
			t.Errorf("Parse(%q) = %+v, want the defaults", tt.word, got)
		}
	}
}

func TestParseBounds(t *testing.T) {
	o, problems := Parse(strings.Repeat("virtio_mmio.device=512@0xfeb00000:5 ", DevicesMax+3))
	if len(o.Devices) != DevicesMax || len(problems) != 3 {
		t.Errorf("%d devices and %d problems, want %d and 3", len(o.Devices), len(problems), DevicesMax)
	}
	if _, problems = Parse("ip.a=dhcp ip.b=dhcp ip.c=dhcp ip.d=dhcp ip.e=dhcp ip.f=dhcp ip.g=dhcp ip.h=dhcp ip.i=dhcp"); len(problems) != 1 || !strings.Contains(problems[0], "more than 8 network cards") {
		t.Errorf("problems %q", problems)
	}
	if _, problems = Parse(strings.Repeat("x ", 100)); len(problems) != problemsMax+1 {
		t.Errorf("%d problems, want %d", len(problems), problemsMax+1)
	}
	o, problems = Parse(strings.Repeat(" ", LineMax-4) + "log=debug")
	if o.Log != slog.LevelInfo || len(problems) != 1 {
		t.Errorf("a word cut by the end of the line was used: %+v, %q", o, problems)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ip=192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.53 ip6=2001:db8::5/64 log=debug panic=halt")
	f.Add("virtio_mmio.device=512@0xfeb00e00:12 \x00\xff=")
	f.Add("nic=wan@00:03.0 nic=lan@00:04.0 ip.wan=192.0.2.5/24 ip6.lan=off")
	f.Fuzz(func(t *testing.T, line string) {
		o, problems := Parse(line)
		if len(problems) > problemsMax+1 {
			t.Errorf("%d problems", len(problems))
		}
		for _, p := range problems {
			for _, r := range p {
				if r < ' ' || r == 0x7f {
					t.Errorf("problem %q holds a control character", p)
				}
			}
		}
		if !o.IPv4.DHCP && !o.IPv4.Address.Addr().Is4() {
			t.Errorf("IPv4 %+v is neither DHCP nor an address", o.IPv4)
		}
		for _, d := range o.Devices {
			if d.Base+d.Size < d.Base || d.Size == 0 {
				t.Errorf("device %+v wraps", d)
			}
		}
		for _, n := range o.NICs {
			if !ValidNIC(n.Name) || len(n.Path) > pathMax || n.IPv4 != nil && !n.IPv4.DHCP && !n.IPv4.Address.Addr().Is4() {
				t.Errorf("card %+v", n)
			}
		}
		if len(o.Devices) > DevicesMax || len(o.IPv4.DNS) > DNSMax || len(o.NICs) > NICsMax {
			t.Errorf("unbounded: %+v", o)
		}
	})
}
