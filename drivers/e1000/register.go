// This file owns the registers: where they lie and what their bits mean, by the names
// of the 8254x manual (chapter 13) and, for what only the 82574 has, of its datasheet.

package e1000

// windowBytes is how long the window of registers is.
const windowBytes = 128 << 10

// Offsets in the window, in bytes.
const (
	regCTRL    = 0x0000
	regSTATUS  = 0x0008
	regEECD    = 0x0010
	regEERD    = 0x0014
	regICR     = 0x00c0
	regITR     = 0x00c4
	regICS     = 0x00c8
	regIMS     = 0x00d0
	regIMC     = 0x00d8
	regRCTL    = 0x0100
	regTCTL    = 0x0400
	regTIPG    = 0x0410
	regRDBAL   = 0x2800
	regRDBAH   = 0x2804
	regRDLEN   = 0x2808
	regRDH     = 0x2810
	regRDT     = 0x2818
	regRDTR    = 0x2820
	regRADV    = 0x282c
	regTDBAL   = 0x3800
	regTDBAH   = 0x3804
	regTDLEN   = 0x3808
	regTDH     = 0x3810
	regTDT     = 0x3818
	regTIDV    = 0x3820
	regTXDCTL  = 0x3828
	regTADV    = 0x382c
	regTARC0   = 0x3840 // 82574
	regRXCSUM  = 0x5000
	regMTA     = 0x5200 // mtaWords words
	regRAL0    = 0x5400 // followed by RAH0, RAL1 and so on
	regRAH0    = 0x5404
	regGCR     = 0x5b00 // 82574
	regGCR2    = 0x5b64 // 82574
	raStride   = 8
	raEntries  = 16
	mtaWords   = 128
	allOnes    = 0xffffffff
	everyCause = 0xffffffff
)

// Device control.
const (
	ctrlGIOMasterDisable = 1 << 2 // 82574
	ctrlASDE             = 1 << 5
	ctrlSLU              = 1 << 6
	ctrlILOS             = 1 << 7
	ctrlFRCSPD           = 1 << 11
	ctrlFRCDPX           = 1 << 12
	ctrlRST              = 1 << 26
	ctrlRFCE             = 1 << 27
	ctrlTFCE             = 1 << 28
	ctrlVME              = 1 << 30
	ctrlPHYRST           = 1 << 31
)

// Device status.
const (
	statusLU              = 1 << 1
	statusSpeed           = 6       // the bits from here on: 10, 100, 1000 and again 1000 Mbit/s
	statusGIOMasterEnable = 1 << 19 // 82574
)

// EEPROM control and read. Where address and DONE lie in EERD
// depends on the model.
const (
	eecdAutoRD = 1 << 9 // 82574: configuration was read after a reset
	eerdStart  = 1 << 0
	eerdData   = 16 // shift
)

// Interrupt causes, in ICR, ICS, IMS and IMC.
const (
	causeTXDW   = 1 << 0
	causeLSC    = 1 << 2
	causeRXDMT0 = 1 << 4
	causeRXO    = 1 << 6
	causeRXT0   = 1 << 7

	// causesReceive are those that a busy poller does without.
	causesReceive = causeRXDMT0 | causeRXO | causeRXT0
)

// Receive control. Buffers of 2 KiB are BSIZE 0; what is longer than
// Ethernet allows is dropped, as neither LPE nor SBP is set; the VLAN filter is off, as
// VFE is not. Groups are known by bits 47:36 of their address, which is MO 0.
const (
	rctlEN    = 1 << 1
	rctlBAM   = 1 << 15
	rctlSECRC = 1 << 26
)

// Transmit control and its inter packet gap, as the manual
// recommends for full duplex on copper.
const (
	tctlEN   = 1 << 1
	tctlPSP  = 1 << 3
	tctlCT   = 0x0f << 4
	tctlCOLD = 0x40 << 12

	tipgCopper = 8 | 8<<10 | 6<<20
)

// Transmit descriptor control: each descriptor that asks for it is written back at
// once.
const (
	txdctlWTHRESH1  = 1 << 16
	txdctlCountDesc = 1 << 22 // 82574: must be 1
	txdctlGRAN      = 1 << 24
)

// Bits without a name that Intel's own driver sets or clears in an 82574, against
// faulty completions on the bus and a transmitter that stalls.
const (
	tarc0Clear = 0xf << 27
	tarc0Set   = 1 << 26
	gcrSet     = 1 << 22
	gcr2Set    = 1
)

// Receive checksum control.
const (
	rxcsumIPOFLD = 1 << 8
	rxcsumTUOFLD = 1 << 9
)

// rahAV marks a receive address as valid.
const rahAV = 1 << 31

// statistic is a register that counts, and is cleared by reading it.
type statistic struct {
	offset uint64
	name   string
}

// statistics are those that say what no other counter does.
var statistics = [...]statistic{
	{0x4000, "card_crc_errors"},       // CRCERRS
	{0x4004, "card_alignment_errors"}, // ALGNERRC
	{0x400c, "card_receive_errors"},   // RXERRC
	{0x4010, "card_missed"},           // MPC
	{0x4028, "card_collisions"},       // COLC
	{0x4040, "card_length_errors"},    // RLEC
	{0x4074, "card_rx_frames"},        // GPRC
	{0x4080, "card_tx_frames"},        // GPTC
	{0x40a0, "card_no_buffer"},        // RNBC
	{0x40a4, "card_undersize"},        // RUC
	{0x40ac, "card_oversize"},         // ROC
	{0x40f8, "card_segmented"},        // TSCTC
}
