package message

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// finder looks for an ASCII text in ASCII text, whatever the case of either. It
// never writes to what it searches.
type finder struct {
	upper []byte // what is looked for, in upper case
	at    int    // of the byte of it that is rarest in mail
	rare  [2]byte
}

// byteRank is how common a byte is in mail, from rare to frequent, for letters
// in lower case. What is not named is rare.
const byteRank = "zqjxk9v785634201b/_-:;,\"<>=+@ygwpfumcdlhr.\nsinoatre "

func newFinder(upper []byte) finder {
	f := finder{upper: upper}
	least := len(byteRank)
	for i, c := range upper {
		if rank := bytes.IndexByte([]byte(byteRank), lower(c)); rank < least {
			least, f.at = rank, i
		}
	}
	if len(upper) > 0 {
		f.rare = [2]byte{upper[f.at], lower(upper[f.at])}
	}
	return f
}

const (
	findBlock = 4 << 10 // bytes that are searched at a time
	findTries = 16      // places in a block that turn out to be none before it is folded
)

// in says whether text contains what is looked for. text is ASCII. scratch is
// used if need be.
func (f *finder) in(text []byte, scratch *[]byte) bool {
	block := max(findBlock, 2*len(f.upper))
	for len(text) > block {
		if f.inBlock(text[:block], scratch) {
			return true
		}
		text = text[block-max(len(f.upper)-1, 0):]
	}
	return f.inBlock(text, scratch)
}

func (f *finder) inBlock(text []byte, scratch *[]byte) bool {
	end := len(text) - len(f.upper) + f.at + 1 // behind the last place of rare
	if len(f.upper) == 0 || end <= f.at {
		return len(f.upper) == 0
	}
	next := [2]int{-1, -1}
	tries := 0
	for i := f.at; i < end; i++ {
		for k := range next {
			if next[k] < i {
				next[k] = indexFrom(text[:end], f.rare[k], i)
			}
		}
		if i = min(next[0], next[1]); i == end {
			return false
		}
		if from := i - f.at; equalUpper(text[from:from+len(f.upper)], f.upper) {
			return true
		}
		if tries++; tries == findTries {
			*scratch = appendUpper((*scratch)[:0], text[i-f.at+1:])
			return bytes.Contains(*scratch, f.upper)
		}
	}
	return false
}

// indexFrom is where c is in b at or behind from, or behind the end.
func indexFrom(b []byte, c byte, from int) int {
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return len(b)
}

func equalUpper(text, upper []byte) bool {
	for i, c := range upper {
		if d := text[i]; d != c && (d-'a' >= 26 || d-('a'-'A') != c) {
			return false
		}
	}
	return true
}

const (
	allBytes = 0x0101010101010101
	highBits = 0x80 * allBytes
)

// asciiLen is how many bytes at the start of b are ASCII.
func asciiLen(b []byte) int {
	n := 0
	for len(b)-n >= 32 {
		w := b[n : n+32]
		le := binary.LittleEndian
		if (le.Uint64(w)|le.Uint64(w[8:])|le.Uint64(w[16:])|le.Uint64(w[24:]))&highBits != 0 {
			break
		}
		n += 32
	}
	for len(b)-n >= 8 {
		if high := binary.LittleEndian.Uint64(b[n:]) & highBits; high != 0 {
			return n + bits.TrailingZeros64(high)/8
		}
		n += 8
	}
	for n < len(b) && b[n] < 0x80 {
		n++
	}
	return n
}

// appendUpper appends text with the letters of ASCII in upper case.
func appendUpper(dst, text []byte) []byte {
	from := len(dst)
	dst = append(dst, text...)
	out := dst[from:]
	for len(out) >= 8 {
		w := binary.LittleEndian.Uint64(out)
		low := w &^ highBits
		letters := (low + (0x80-'a')*allBytes) &^ (low + (0x7f-'z')*allBytes) &^ w & highBits
		binary.LittleEndian.PutUint64(out, w-letters>>2)
		out = out[8:]
	}
	for i, c := range out {
		if c-'a' < 26 {
			out[i] = c - ('a' - 'A')
		}
	}
	return dst
}
