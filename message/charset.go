package message

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// charsetDecoder turns text into UTF-8, a chunk at a time.
//
// UTF-8, US-ASCII and unknown charsets pass through, but a byte that is no
// part of a UTF-8 character becomes the Latin-1 character of that number:
// unlabelled mail is one of the two.
type charsetDecoder struct {
	decoder transform.Transformer // nil: pass through
	ascii   bool                  // ASCII text is decoded to itself
	same    map[encoding.Encoding]bool
	held    []byte // an incomplete character
	heldBuf [32]byte
}

func (c *charsetDecoder) reset(charset []byte) {
	c.held = c.heldBuf[:0]
	c.decoder, c.ascii = nil, true
	if enc := lookupCharset(charset); enc != nil {
		c.decoder, c.ascii = enc.NewDecoder(), c.keepsASCII(enc)
	}
}

// keepsASCII says whether ASCII text means itself in a charset. In those in
// which some of it shifts to another alphabet, not all of it does.
func (c *charsetDecoder) keepsASCII(enc encoding.Encoding) bool {
	same, known := c.same[enc]
	if !known {
		all := make([]byte, utf8.RuneSelf)
		for i := range all {
			all[i] = byte(i)
		}
		text, err := enc.NewDecoder().Bytes(all)
		same = err == nil && bytes.Equal(text, all)
		if c.same == nil {
			c.same = map[encoding.Encoding]bool{}
		}
		c.same[enc] = same
	}
	return same
}

// plain says whether src, which is what comes next, is its own text.
func (c *charsetDecoder) plain(src []byte) bool {
	if len(c.held) > 0 || !c.ascii {
		return false
	}
	n := asciiLen(src)
	return n == len(src) || c.decoder == nil && utf8.Valid(src[n:])
}

// lookupCharset finds a charset by its name in mail: nil is one that passes
// through.
func lookupCharset(name []byte) encoding.Encoding {
	if len(name) == 0 || len(name) > maxToken || isPassThrough(name) {
		return nil
	}
	if enc, err := htmlindex.Get(string(name)); err == nil {
		if canonical, _ := htmlindex.Name(enc); canonical == "utf-8" || canonical == "replacement" {
			return nil
		}
		return enc
	}
	enc, err := ianaindex.MIME.Encoding(string(name))
	if err != nil {
		return nil
	}
	return enc
}

func isPassThrough(name []byte) bool {
	return equalFold(name, "utf-8") || equalFold(name, "us-ascii") || equalFold(name, "utf8") || equalFold(name, "ascii")
}

// decode appends src as UTF-8. Nothing is held back after the last chunk.
func (c *charsetDecoder) decode(dst, src []byte, last bool) []byte {
	if c.decoder == nil {
		return c.passThrough(dst, src, last)
	}
	for len(c.held) > 0 && len(src) > 0 {
		c.held = append(c.held, src[0])
		src = src[1:]
		var n int
		dst, n = c.transform(dst, c.held, false)
		c.held = append(c.held[:0], c.held[n:]...)
	}
	var n int
	dst, n = c.transform(dst, src, false)
	c.held = append(c.held, src[n:]...)
	if last {
		dst, _ = c.transform(dst, c.held, true)
		c.held = c.held[:0]
	}
	return dst
}

// transform decodes as much of src as it can, and says how much that is.
func (c *charsetDecoder) transform(dst, src []byte, last bool) ([]byte, int) {
	done := 0
	for {
		dst = grow(dst, len(src)-done+utf8.UTFMax*4)
		nDst, nSrc, err := c.decoder.Transform(dst[len(dst):cap(dst)], src[done:], last)
		dst = dst[:len(dst)+nDst]
		done += nSrc
		switch {
		case err == transform.ErrShortDst:
		case err == transform.ErrShortSrc && !last && len(src)-done < len(c.heldBuf)/2:
			return dst, done
		case err != nil && done < len(src):
			dst = utf8.AppendRune(dst, utf8.RuneError)
			done++
		default:
			return dst, done
		}
	}
}

func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(b, make([]byte, n)...)[:len(b)]
}

// passThrough copies UTF-8 and mends the rest.
func (c *charsetDecoder) passThrough(dst, src []byte, last bool) []byte {
	for len(c.held) > 0 && len(src) > 0 {
		c.held = append(c.held, src[0])
		src = src[1:]
		n := 0
		dst, n = appendUTF8(dst, c.held, false)
		c.held = append(c.held[:0], c.held[n:]...)
	}
	dst, n := appendUTF8(dst, src, last && len(c.held) == 0)
	c.held = append(c.held, src[n:]...)
	if last && len(c.held) > 0 {
		dst, _ = appendUTF8(dst, c.held, true)
		c.held = c.held[:0]
	}
	return dst
}

// appendUTF8 copies src, invalid bytes as Latin-1. Unless this is the last
// chunk it stops before an incomplete character. It returns how much it read.
func appendUTF8(dst, src []byte, last bool) ([]byte, int) {
	i := 0
	for i < len(src) {
		n := asciiLen(src[i:])
		dst = append(dst, src[i:i+n]...)
		if i += n; i == len(src) {
			break
		}
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			if !last && !utf8.FullRune(src[i:]) {
				break
			}
			r = rune(src[i])
		}
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return dst, i
}
