package message

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Needle is a text to search for. It may be used by many goroutines.
//
// Texts are compared in a form in which case makes no difference, and in which
// a character with a mark is the same whether written as one character or as
// two. So é is found by É and by e, but e is not found by é. It is close to
// i;unicode-casemap, RFC 5051.
type Needle struct{ folded []byte }

// NewNeedle makes a needle of UTF-8 text.
func NewNeedle(text string) *Needle {
	var f folder
	valid, _ := appendUTF8(nil, []byte(text), true)
	return &Needle{folded: f.append(nil, valid)}
}

// Empty is true of a needle that every text contains.
func (n *Needle) Empty() bool { return len(n.folded) == 0 }

// MatchString says whether text, which is UTF-8, contains the needle.
func (n *Needle) MatchString(text string) bool {
	var f folder
	valid, _ := appendUTF8(nil, []byte(text), true)
	return bytes.Contains(f.append(nil, valid), n.folded)
}

// folder brings UTF-8 text into the form that is compared.
type folder struct {
	// cache holds the folded form of letters beyond ASCII; 0 is unknown.
	cache [0x600]rune
}

// append appends the folded form of text, which is valid UTF-8.
func (f *folder) append(dst, text []byte) []byte {
	for len(text) > 0 {
		n := asciiLen(text)
		dst = appendUpper(dst, text[:n])
		text = text[n:]
		for len(text) > 0 && text[0] >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text)
			if parts := norm.NFD.Properties(text).Decomposition(); parts != nil {
				dst = f.appendRunes(dst, parts)
			} else {
				dst = utf8.AppendRune(dst, f.rune(r))
			}
			text = text[size:]
		}
	}
	return dst
}

func (f *folder) appendRunes(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, f.rune(r))
		text = text[size:]
	}
	return dst
}

// appendUpper appends ASCII text with its letters in upper case.
func appendUpper(dst, text []byte) []byte {
	from := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[from:] {
		if c-'a' < 26 {
			dst[from+i] = c - ('a' - 'A')
		}
	}
	return dst
}

func (f *folder) rune(r rune) rune {
	if int(r) >= len(f.cache) {
		return foldRune(r)
	}
	if f.cache[r] == 0 {
		f.cache[r] = foldRune(r)
	}
	return f.cache[r]
}

// foldRune is the smallest of the characters that differ from r in case only.
func foldRune(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}
