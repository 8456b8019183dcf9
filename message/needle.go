package message

import (
	"bytes"
	"unicode/utf8"
)

// Needle is a text to search for. It may be used by many goroutines.
//
// Texts are compared by the collation i;unicode-casemap, RFC 5051: case makes no
// difference, and a character with a mark is the same whether written as one
// character or as two. So é is found by É and by e, but e is not found by é.
type Needle struct {
	folded []byte
	ascii  bool
	find   finder // of folded, if that is ASCII
	run    finder // of the longest piece of folded without spaces and colons, likewise
}

// NewNeedle makes a needle of UTF-8 text.
func NewNeedle(text string) *Needle {
	var f folder
	valid, _ := appendUTF8(nil, []byte(text), true)
	n := &Needle{folded: f.append(nil, valid)}
	if n.ascii = asciiLen(n.folded) == len(n.folded); n.ascii {
		n.find, n.run = newFinder(n.folded), newFinder(longestRun(n.folded))
	}
	return n
}

// longestRun is the longest piece of text that lies within one field of a
// header, as it was sent, if text does.
func longestRun(text []byte) []byte {
	var longest []byte
	for run := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r <= ' ' || r == ':' }) {
		if len(run) > len(longest) {
			longest = run
		}
	}
	return longest
}

// Empty is true of a needle that every text contains.
func (n *Needle) Empty() bool { return len(n.folded) == 0 }

// folder brings UTF-8 text into the form that is compared.
type folder struct {
	// cache holds the folded form of the letters of Europe and the Near East.
	cache [0x600]foldedRune
}

// foldedRune is UTF-8: a letter and its marks. n is 0 if it is not known yet.
type foldedRune struct {
	n    uint8
	utf8 [7]byte
}

// append appends the folded form of text, which is valid UTF-8.
func (f *folder) append(dst, text []byte) []byte {
	for len(text) > 0 {
		n := asciiLen(text)
		dst = appendUpper(dst, text[:n])
		text = text[n:]
		for len(text) > 0 && text[0] >= utf8.RuneSelf {
			r, size := rune(text[0]&0x1f)<<6, 2 // of most that cache has room for
			if text[0] < 0xe0 && len(text) > 1 {
				r |= rune(text[1] & 0x3f)
			} else {
				r, size = utf8.DecodeRune(text)
			}
			text = text[size:]
			if int(r) >= len(f.cache) {
				dst = appendTitle(dst, r)
				continue
			}
			c := &f.cache[r]
			switch c.n {
			case 2:
				dst = append(dst, c.utf8[0], c.utf8[1])
			case 0:
				c.n = uint8(copy(c.utf8[:], appendTitle(nil, r)))
				fallthrough
			default:
				dst = append(dst, c.utf8[:c.n]...)
			}
		}
	}
	return dst
}

// isIdeograph is true of the many characters that have neither case nor marks.
func isIdeograph(r rune) bool {
	return r >= 0x3400 && r < 0xa000 || r >= 0xac00 && r <= 0xd7a3
}
