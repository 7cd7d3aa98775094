// Package arena lays out the memory that a channel shares with its domain: an
// arena is made of regions, a region of segments, a segment of equal objects.
// The domain sees one contiguous range of addresses; behind it each segment is
// a piece of memory of its own, so that segments can come and go.
package arena

// Right is what a domain may do with a region.
type Right uint8

const (
	// None keeps the region out of the domain's sight.
	None Right = iota
	// ReadOnly lets the domain read.
	ReadOnly
	// ReadWrite lets it write too.
	ReadWrite
)

func (r Right) String() string { return [...]string{"none", "ro", "rw"}[r] }

// ID names a region. Regions lie in the arena in this order.
type ID uint8

const (
	Schema   ID = iota // the arena's description
	Rings              // the heads and tails
	Slots              // of all rings
	Packets            // metadata of packets, as the domain sees it
	Buflets            // metadata of buffers, likewise
	Buffers            // packet data
	Large              // packet data in large buffers
	Stats              // counters that the kernel keeps for the domain
	Advisory           // flow advisory table
	Regions            // how many there are
)

// Info is what holds for a region whatever its size.
type Info struct {
	Name string
	User Right
	// Redirect says that a defunct channel's domain sees zeros in its place, and that
	// its memory is free then.
	Redirect bool
	// IO says that a device may be pointed at it.
	IO bool
}

// table is the contract between kernel and domain; a test repeats it. What the
// kernel alone knows of packets is not in any region.
var table = [Regions]Info{
	Schema:   {Name: "schema", User: ReadOnly},
	Rings:    {Name: "rings", User: ReadWrite, Redirect: true},
	Slots:    {Name: "slots", User: ReadWrite, Redirect: true},
	Packets:  {Name: "packets", User: ReadWrite, Redirect: true},
	Buflets:  {Name: "buflets", User: ReadWrite, Redirect: true},
	Buffers:  {Name: "buffers", User: ReadWrite, Redirect: true, IO: true},
	Large:    {Name: "large", User: ReadWrite, Redirect: true, IO: true},
	Stats:    {Name: "stats", User: ReadOnly, Redirect: true},
	Advisory: {Name: "advisory", User: ReadOnly, Redirect: true},
}

// Info returns what holds for a region.
func (id ID) Info() Info { return table[id] }

func (id ID) String() string { return table[id].Name }
