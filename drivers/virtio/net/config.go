// This file owns the features and the configuration of a network card (virtio
// 1.2, sections 5.1.3 and 5.1.4).

package net

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Features of a network card (section 5.1.3).
const (
	featureCSUM            uint64 = 1 << 0
	featureGuestCSUM       uint64 = 1 << 1
	featureControlOffloads uint64 = 1 << 2
	featureMTU             uint64 = 1 << 3
	featureMAC             uint64 = 1 << 5
	featureGuestTSO4       uint64 = 1 << 7
	featureGuestTSO6       uint64 = 1 << 8
	featureHostTSO4        uint64 = 1 << 11
	featureHostTSO6        uint64 = 1 << 12
	featureMergeable       uint64 = 1 << 15
	featureStatus          uint64 = 1 << 16
	featureControl         uint64 = 1 << 17
	featureControlRx       uint64 = 1 << 18
)

// wanted are the features that the driver knows what to do with. ECN and UFO are
// left out: no one above sets or understands them.
const wanted = featureCSUM | featureGuestCSUM | featureControlOffloads | featureMTU | featureMAC |
	featureGuestTSO4 | featureGuestTSO6 | featureHostTSO4 | featureHostTSO6 |
	featureMergeable | featureStatus | featureControl | featureControlRx

// guestOffloads are those that the control queue can switch (section 5.1.6.5.6.1).
const guestOffloads = featureGuestCSUM | featureGuestTSO4 | featureGuestTSO6

// usable drops features whose requirements (section 5.1.3.1) the device does
// not offer, and merged frames where no buffer could hold them.
func usable(f uint64) uint64 {
	for _, r := range []struct{ features, need uint64 }{
		{featureHostTSO4 | featureHostTSO6, featureCSUM},
		{featureGuestTSO4 | featureGuestTSO6, featureGuestCSUM | featureMergeable},
		{featureControlRx | featureControlOffloads, featureControl},
	} {
		if f&r.need != r.need {
			f &^= r.features
		}
	}
	return f
}

// Offsets in the configuration (section 5.1.4).
const (
	configMAC    = 0
	configStatus = 6
	configMTU    = 10

	statusLinkUp = 1
)

const (
	mtuDefault = 1500
	mtuMin     = 68
	vlanBytes  = 4
)

// readConfig reads MAC, MTU and link state into info.
func (d *Device) readConfig() error {
	need := uint64(0)
	for _, f := range []struct{ feature, end uint64 }{
		{featureMAC, configMAC + 6}, {featureStatus, configStatus + 2}, {featureMTU, configMTU + 2},
	} {
		if d.features&f.feature != 0 {
			need = max(need, f.end)
		}
	}
	if size := d.t.Config().Size(); size < need {
		return fmt.Errorf("configuration of %d bytes, its features need %d", size, need)
	}
	mac, mtu, up := d.cfg.MAC, uint16(mtuDefault), true
	err := virtio.ReadConfig(d.t, func(r hw.Registers) {
		if d.features&featureMAC != 0 {
			for i := range mac {
				mac[i] = r.Read8(configMAC + uint64(i))
			}
		}
		if d.features&featureMTU != 0 {
			mtu = r.Read16(configMTU)
		}
		up = d.readLink(r)
	})
	if err != nil {
		return err
	}
	if mac == ([6]byte{}) {
		return errors.New("device has no MAC address: give QEMU's -device the option mac=")
	}
	if mac[0]&1 != 0 {
		return fmt.Errorf("MAC address %x is a group's", mac)
	}
	limit := nic.FrameMax - nic.HeaderLen
	if d.features&featureMergeable == 0 {
		limit = d.cfg.RxBuffer - headerBytes - nic.HeaderLen - vlanBytes
	}
	if int(mtu) < mtuMin || int(mtu) > limit {
		return fmt.Errorf("device has an MTU of %d, want %d to %d", mtu, mtuMin, limit)
	}
	d.linkUp.Store(up)
	has := func(f uint64) bool { return d.features&f != 0 }
	d.info = nic.Info{
		Driver: "virtio-net", Location: d.t.Location(), MAC: mac, MTU: int(mtu),
		Offloads: nic.Offloads{
			TxChecksum: has(featureCSUM), RxChecksum: has(featureGuestCSUM),
			TSO4: has(featureHostTSO4), TSO6: has(featureHostTSO6),
			LRO4: has(featureGuestTSO4), LRO6: has(featureGuestTSO6),
		},
	}
	return nil
}

// readLink returns the link state; a device that does not tell is always up.
func (d *Device) readLink(r hw.Registers) bool {
	return d.features&featureStatus == 0 || r.Read16(configStatus)&statusLinkUp != 0
}

// Link returns the state last reported by the device.
func (d *Device) Link() nic.Link { return nic.Link{Up: d.linkUp.Load()} }

// configChanged reads the link state after a configuration interrupt, which a
// device that needs a reset sends too (section 2.1.2).
func (d *Device) configChanged() {
	if d.t.Status()&virtio.StatusNeedsReset != 0 {
		d.recovery.Ask(resetNeedsReset, errNeedsReset)
		return
	}
	// The field is two bytes, read at once: no generation check is needed.
	d.setLink(d.readLink(d.t.Config()))
}

func (d *Device) setLink(up bool) {
	if d.linkUp.Swap(up) == up {
		return
	}
	d.counters.add(linkChanges, 1)
	state := "down"
	if up {
		state = "up"
	}
	d.cfg.Log.Info("virtio-net link "+state, "device", d.info.Location)
}
