package message

import "bytes"

// transferDecoder undoes a content transfer encoding, a chunk at a time. It
// passes over what does not belong to the encoding. The zero value is ready.
type transferDecoder struct {
	encoding Encoding

	bits uint32 // base64: the bits of n characters
	n    int

	state escapeState // quoted-printable
	high  byte        // the first digit of an escape
}

// decode appends what src says. Nothing is held back after the last chunk.
func (t *transferDecoder) decode(dst, src []byte, last bool) []byte {
	switch t.encoding {
	case EncodingBase64:
		dst = t.base64(dst, src)
		if last {
			dst = t.endBase64(dst)
		}
		return dst
	case EncodingQuotedPrintable:
		dst = t.quotedPrintable(dst, src)
		if last {
			dst = t.endEscape(dst)
		}
		return dst
	}
	return append(dst, src...)
}

// base64Value maps a character to its value; 64 is no digit. RFC 2045 section
// 6.8.
func base64Value(c byte) uint32 {
	switch {
	case c-'A' < 26:
		return uint32(c - 'A')
	case c-'a' < 26:
		return uint32(c-'a') + 26
	case c-'0' < 10:
		return uint32(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return 64
}

// base64Table is base64Value of all characters.
var base64Table = func() (table [256]uint8) {
	for c := range table {
		table[c] = uint8(base64Value(byte(c)))
	}
	return table
}()

func (t *transferDecoder) base64(dst, src []byte) []byte {
	for len(src) > 0 {
		if t.n == 0 {
			var n int
			if dst, n = appendQuads(dst, src); n == len(src) {
				break
			}
			src = src[n:]
		}
		v, c := uint32(base64Table[src[0]]), src[0]
		src = src[1:]
		if v == 64 {
			if c == '=' {
				dst = t.endBase64(dst)
			}
			continue
		}
		t.bits = t.bits<<6 | v
		if t.n++; t.n == 4 {
			dst = append(dst, byte(t.bits>>16), byte(t.bits>>8), byte(t.bits))
			t.n = 0
		}
	}
	return dst
}

// appendQuads decodes whole groups of four characters, up to the first that has
// another character in it, and says how many characters those were.
func appendQuads(dst, src []byte) ([]byte, int) {
	dst = grow(dst, len(src)/4*3)
	n, end := 0, len(dst)
	out := dst[:cap(dst)]
	for len(src)-n >= 4 {
		a, b, c, d := base64Table[src[n]], base64Table[src[n+1]], base64Table[src[n+2]], base64Table[src[n+3]]
		if (a|b|c|d)&64 != 0 {
			break
		}
		bits := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(d)
		out[end], out[end+1], out[end+2] = byte(bits>>16), byte(bits>>8), byte(bits)
		n, end = n+4, end+3
	}
	return dst[:end], n
}

// endBase64 writes the bytes of an incomplete group.
func (t *transferDecoder) endBase64(dst []byte) []byte {
	switch t.n {
	case 2:
		dst = append(dst, byte(t.bits>>4))
	case 3:
		dst = append(dst, byte(t.bits>>10), byte(t.bits>>2))
	}
	t.n = 0
	return dst
}

// escapeState says how much of a quoted-printable escape was read.
type escapeState uint8

const (
	escapeNone  escapeState = iota
	escapeBegun             // =
	escapeHigh              // = and a digit
	escapeSpace             // = and space, which transports add
	escapeBreak             // = and CR
)

// quotedPrintable decodes RFC 2045 section 6.7. An = that starts no escape
// stands for itself.
func (t *transferDecoder) quotedPrintable(dst, src []byte) []byte {
	for len(src) > 0 {
		if t.state != escapeNone {
			dst = t.escape(dst, src[0])
			src = src[1:]
			continue
		}
		i := bytes.IndexByte(src, '=')
		if i < 0 {
			return append(dst, src...)
		}
		dst = append(dst, src[:i]...)
		src = src[i+1:]
		t.state = escapeBegun
	}
	return dst
}

// escape takes the next byte of an escape.
func (t *transferDecoder) escape(dst []byte, c byte) []byte {
	_, isHex := hexValue(c)
	state := t.state
	t.state = escapeNone
	switch {
	case c == '\n' && state != escapeHigh:
		return dst
	case c == '\r' && (state == escapeBegun || state == escapeSpace):
		t.state = escapeBreak
		return dst
	case isSpace(c) && (state == escapeBegun || state == escapeSpace):
		t.state = escapeSpace
		return dst
	case isHex && state == escapeBegun:
		t.state, t.high = escapeHigh, c
		return dst
	case isHex && state == escapeHigh:
		return append(dst, hexByte(t.high, c))
	}
	t.state = state
	dst = t.endEscape(dst)
	if c == '=' {
		t.state = escapeBegun
		return dst
	}
	return append(dst, c)
}

// endEscape writes what was read of an escape that is none.
func (t *transferDecoder) endEscape(dst []byte) []byte {
	switch t.state {
	case escapeBegun:
		dst = append(dst, '=')
	case escapeHigh:
		dst = append(dst, '=', t.high)
	case escapeSpace:
		dst = append(dst, "= "...)
	}
	t.state = escapeNone
	return dst
}

func hexValue(c byte) (byte, bool) {
	switch {
	case c-'0' < 10:
		return c - '0', true
	case lower(c)-'a' < 6:
		return lower(c) - 'a' + 10, true
	}
	return 0, false
}

func hexByte(high, low byte) byte {
	h, _ := hexValue(high)
	l, _ := hexValue(low)
	return h<<4 | l
}
