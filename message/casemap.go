package message

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// appendCasemap appends text, which is UTF-8, in the form in which the collation
// i;unicode-casemap compares it byte by byte: every character in title case and
// decomposed, RFC 5051 section 2.
func appendCasemap(dst, text []byte) []byte {
	for len(text) > 0 {
		n := asciiLen(text)
		dst = appendUpper(dst, text[:n])
		text = text[n:]
		for len(text) > 0 && text[0] >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text)
			dst = appendTitle(dst, r)
			text = text[size:]
		}
	}
	return dst
}

// appendTitle appends the casemap of one character.
func appendTitle(dst []byte, r rune) []byte {
	if isIdeograph(r) {
		return utf8.AppendRune(dst, r)
	}
	from := len(dst)
	dst = utf8.AppendRune(dst, unicode.ToTitle(r))
	if parts := norm.NFKD.Properties(dst[from:]).Decomposition(); parts != nil {
		dst = append(dst[:from], parts...)
	}
	return dst
}

// maxCollated bounds a text that is compared, in bytes. The end of a longer one
// is a checksum of all of it: equal stays equal, different stays different.
const maxCollated = 512

// appendCollated appends the casemap of text without NUL, which the lists of
// keys need for themselves.
func appendCollated(dst, text []byte) []byte {
	from := len(dst)
	dst = appendCasemap(dst, text)
	dst = dst[:from+len(dropNUL(dst[from:]))]
	if all := dst[from:]; len(all) > maxCollated {
		sum := sha256.Sum256(all)
		kept := from + maxCollated - hex.EncodedLen(len(sum))
		dst = hex.AppendEncode(dst[:kept], sum[:])
	}
	return dst
}

func dropNUL(b []byte) []byte {
	out := b[:0]
	for _, c := range b {
		if c != 0 {
			out = append(out, c)
		}
	}
	return out
}
