package imapserver

import "errors"

// inflateWindow is how far back compressed bytes may refer.
const inflateWindow = 32 << 10

var errNotDeflated = errors.New("compressed data is invalid")

// inflater reads the compressed format of RFC 1951 piece by piece: whatever can be
// known from the bytes that have come is given out, so that it does not matter
// how the sender flushes. (The readers of compress/flate wait for the end of a
// block, or for bits behind it, which a partial flush holds back.)
//
// All but the tables, which only a block with its own codes needs, is small and
// can be kept between reads.
type inflater struct {
	bits
	mode   inflateMode
	final  bool // this block is the last
	left   int  // of a stored block
	tables *inflateTables
}

type inflateMode uint8

const (
	atBlock    inflateMode = iota // a header comes next
	inStored                      // left bytes as they are
	inFixed                       // symbols in the codes of RFC 1951 section 3.2.6
	inDynamic                     // symbols in codes that tables has
	endOfInput                    // the last block is over
)

// inflateTables is what the reading of compressed bytes takes while it goes on.
// out[:next] has been given out, out[next:end] not yet.
type inflateTables struct {
	literals, distances, lengths huffman
	fixed                        bool // literals and distances are those of inFixed

	out       [2 * inflateWindow]byte
	next, end int

	raw [4096]byte // what the input is read into
}

// bits are compressed bytes, taken bit by bit. If there are too few, short is
// set, and what was taken since a copy was made is taken back by the copy.
type bits struct {
	in    []byte // not taken yet
	held  uint64 // the next count bits
	count uint
	short bool
}

func (b *bits) fill() {
	for b.count <= 56 && len(b.in) > 0 {
		b.held |= uint64(b.in[0]) << b.count
		b.in, b.count = b.in[1:], b.count+8
	}
}

// take gives the next n bits, at most 32.
func (b *bits) take(n uint) int {
	if b.count < n {
		b.fill()
	}
	if b.count < n {
		b.short = true
		return 0
	}
	v := b.held & (1<<n - 1)
	b.held, b.count = b.held>>n, b.count-n
	return int(v)
}

// huffman is a canonical code: how many codes there are of each length, and the
// symbols in the order of the codes.
type huffman struct {
	counts  [16]uint16
	symbols [288]uint16
}

// set makes the code from the lengths of its symbols; 0 is a symbol without code.
// A code with room left is only good if it has a single symbol, or none.
func (h *huffman) set(lengths []uint8) bool {
	h.counts = [16]uint16{}
	for _, l := range lengths {
		h.counts[l]++
	}
	var first [16]uint16
	room := 1
	for l := 1; l < len(h.counts); l++ {
		room = room<<1 - int(h.counts[l])
		if room < 0 {
			return false
		}
		if l+1 < len(first) {
			first[l+1] = first[l] + h.counts[l]
		}
	}
	coded := len(lengths) - int(h.counts[0])
	if room > 0 && coded > 0 && (coded != 1 || h.counts[1] != 1) {
		return false
	}
	h.counts[0] = 0
	for symbol, l := range lengths {
		if l > 0 {
			h.symbols[first[l]] = uint16(symbol)
			first[l]++
		}
	}
	return true
}

// symbol reads a symbol, -1 if no code is like that.
func (b *bits) symbol(h *huffman) int {
	if b.count < 15 {
		b.fill()
	}
	held := b.held
	code, first, index := 0, 0, 0
	for l := uint(1); l < 16; l++ {
		if l > b.count {
			b.short = true
			return 0
		}
		code |= int(held & 1)
		held >>= 1
		n := int(h.counts[l])
		if code-first < n {
			b.held, b.count = held, b.count-l
			return int(h.symbols[index+code-first])
		}
		index += n
		first, code = (first+n)<<1, code<<1
	}
	return -1
}

// run inflates until there is no more room or too little input, which stays in in.
func (z *inflater) run() error {
	t := z.tables
	for len(t.out)-t.end >= 258 && z.mode != endOfInput {
		before := z.bits
		if err := z.step(); err != nil {
			return err
		}
		if z.short {
			z.bits = before
			return nil
		}
	}
	return nil
}

// step takes a header, a symbol or stored bytes, or sets short and changes nothing
// but bits.
func (z *inflater) step() error {
	switch z.mode {
	case atBlock:
		return z.header()
	case inStored:
		if z.short = z.left > 0 && z.count == 0 && len(z.in) == 0; !z.short {
			z.stored()
		}
		return nil
	case inFixed:
		if !z.tables.fixed {
			z.tables.setFixed()
		}
	}
	return z.coded()
}

// header is RFC 1951 section 3.2.3.
func (z *inflater) header() error {
	final := z.take(1) == 1
	var mode inflateMode
	switch z.take(2) {
	case 0:
		z.take(z.count & 7)
		length, check := z.take(16), z.take(16)
		if !z.short && length != check^0xffff {
			return errNotDeflated
		}
		mode, z.left = inStored, length
	case 1:
		mode = inFixed
	case 2:
		mode = inDynamic
		if err := z.dynamic(); err != nil {
			return err
		}
	default:
		return errNotDeflated
	}
	if !z.short {
		z.mode, z.final = mode, final
	}
	return nil
}

func (z *inflater) endBlock() {
	z.mode = atBlock
	if z.final {
		z.mode = endOfInput
	}
}

// stored takes bytes as they are, those first that are held as bits.
func (z *inflater) stored() {
	t := z.tables
	for z.left > 0 && z.count > 0 && t.end < len(t.out) {
		t.out[t.end] = byte(z.take(8))
		t.end++
		z.left--
	}
	if z.count == 0 {
		n := copy(t.out[t.end:], z.in[:min(z.left, len(z.in))])
		z.in = z.in[n:]
		t.end += n
		z.left -= n
	}
	if z.left == 0 {
		z.endBlock()
	}
}

// codeLengthOrder is the order in which the lengths of the code for lengths come.
var codeLengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block. RFC 1951 section 3.2.7.
func (z *inflater) dynamic() error {
	t := z.tables
	literals, distances, n := z.take(5)+257, z.take(5)+1, z.take(4)+4
	if z.short {
		return nil
	}
	if literals > 286 || distances > 30 {
		return errNotDeflated
	}
	var lengths [286 + 30]uint8
	for _, i := range codeLengthOrder[:n] {
		lengths[i] = uint8(z.take(3))
	}
	if z.short {
		return nil
	}
	if !t.lengths.set(lengths[:19]) {
		return errNotDeflated
	}
	if err := z.codeLengths(lengths[:literals+distances]); err != nil || z.short {
		return err
	}
	t.fixed = false
	if lengths[256] == 0 || !t.literals.set(lengths[:literals]) || !t.distances.set(lengths[literals:literals+distances]) {
		return errNotDeflated
	}
	return nil
}

// codeLengths reads lengths that are themselves coded, with repetitions.
func (z *inflater) codeLengths(lengths []uint8) error {
	for i := 0; i < len(lengths); {
		symbol := z.symbol(&z.tables.lengths)
		value, repeat := uint8(0), 1
		switch {
		case z.short:
			return nil
		case symbol < 0 || symbol == 16 && i == 0:
			return errNotDeflated
		case symbol < 16:
			value = uint8(symbol)
		case symbol == 16:
			value, repeat = lengths[i-1], 3+z.take(2)
		case symbol == 17:
			repeat = 3 + z.take(3)
		default:
			repeat = 11 + z.take(7)
		}
		if z.short {
			return nil
		}
		if i+repeat > len(lengths) {
			return errNotDeflated
		}
		for range repeat {
			lengths[i] = value
			i++
		}
	}
	return nil
}

func (t *inflateTables) setFixed() {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	t.literals.set(lengths[:])
	for i := range 32 { // two of them are not used, but have a code
		lengths[i] = 5
	}
	t.distances.set(lengths[:32])
	t.fixed = true
}

// What the symbols for lengths, from 257 on, and for distances mean, and how many
// bits come behind them. RFC 1951 section 3.2.5.
var (
	copyLengths  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra  = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	copyDistance = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra    = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// coded takes one symbol, and what it refers to.
func (z *inflater) coded() error {
	t := z.tables
	symbol := z.symbol(&t.literals)
	switch {
	case z.short:
		return nil
	case symbol < 0 || symbol > 256+len(copyLengths):
		return errNotDeflated
	case symbol == 256:
		z.endBlock()
		return nil
	case symbol < 256:
		t.out[t.end] = byte(symbol)
		t.end++
		return nil
	}
	length := int(copyLengths[symbol-257]) + z.take(uint(lengthExtra[symbol-257]))
	if z.short {
		return nil
	}
	return z.copyBack(length)
}

// copyBack takes a distance and repeats what is that far back.
func (z *inflater) copyBack(length int) error {
	t := z.tables
	symbol := z.symbol(&t.distances)
	switch {
	case z.short:
		return nil
	case symbol < 0 || symbol >= len(copyDistance):
		return errNotDeflated
	}
	distance := int(copyDistance[symbol]) + z.take(uint(distExtra[symbol]))
	switch {
	case z.short:
		return nil
	case distance > t.end:
		return errNotDeflated
	}
	for range length { // what is copied may be part of it
		t.out[t.end] = t.out[t.end-distance]
		t.end++
	}
	return nil
}
