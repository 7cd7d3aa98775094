package memfs

// Flags of Open, with the values of Linux on amd64.
const (
	OReadOnly  = 0
	OWriteOnly = 1
	OReadWrite = 2
	OAccess    = 3 // the bits of the three above
	OCreate    = 0x40
	OExclusive = 0x80
	OTruncate  = 0x200
	OAppend    = 0x400
	ODirectory = 0x10000
	ONoFollow  = 0x20000
	OPath      = 0x200000 // the handle names a node, and gives no access to data
)

// Bits of a mode: the kind of node, and what is kept of chmod.
const (
	ModeType    = 0o170000
	ModeFIFO    = 0o010000
	ModeChar    = 0o020000
	ModeDir     = 0o040000
	ModeRegular = 0o100000
	ModeSymlink = 0o120000

	modeBits = 0o7777
)

// Places that SeekTo counts from.
const (
	SeekSet = iota
	SeekCurrent
	SeekEnd
	SeekData // the next byte that is not in a hole; all of a file is data
	SeekHole // the next hole: the end of the file
)

// RenameNoReplace is a flag of Rename: the new name must not exist.
const RenameNoReplace = 1
