package imapwire

import (
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrName is a mailbox name that is not canonical modified UTF-7.
var ErrName = errors.New("mailbox name is not modified UTF-7")

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,"

// base64Value is the value of a letter of base64Alphabet; of other bytes 0.
var base64Value = func() (t [256]byte) {
	for i := range len(base64Alphabet) {
		t[base64Alphabet[i]] = byte(i)
	}
	return t
}()

// EncodeName is the modified UTF-7 of a UTF-8 mailbox name. RFC 3501 section
// 5.1.3. Bytes that are not UTF-8 become U+FFFD.
func EncodeName(name string) string {
	if plainName(name) {
		return name
	}
	return string(appendName(make([]byte, 0, 2*len(name)), name))
}

// appendName appends EncodeName(name) to b.
func appendName(b []byte, name string) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if classOf[c]&classClean == 0 {
			b, i = appendShifted(b, name, i)
			continue
		}
		b = append(b, c)
		if c == '&' {
			b = append(b, '-')
		}
		i++
	}
	return b
}

// appendShifted encodes the run of characters from name[i] on that have to be
// in base64, and returns where the run ends.
func appendShifted(b []byte, name string, i int) ([]byte, int) {
	var bits uint32
	var n uint
	b = append(b, '&')
	put := func(unit uint16) {
		bits, n = bits<<16|uint32(unit), n+16
		for n >= 6 {
			n -= 6
			b = append(b, base64Alphabet[bits>>n&63])
		}
	}
	for i < len(name) && classOf[name[i]]&classClean == 0 {
		r, size := utf8.DecodeRuneInString(name[i:])
		i += size
		if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
			put(uint16(hi))
			put(uint16(lo))
			continue
		}
		put(uint16(r))
	}
	if n > 0 {
		b = append(b, base64Alphabet[bits<<(6-n)&63])
	}
	return append(b, '-'), i
}

// DecodeName is the UTF-8 of a mailbox name in modified UTF-7. It takes what
// EncodeName can give and nothing else: two names on the wire are never the
// same mailbox. Otherwise the error is ErrName.
func DecodeName(wire string) (string, error) {
	if plainName(wire) {
		return wire, nil
	}
	var b strings.Builder
	for rest := wire; rest != ""; {
		before, after, shifted := strings.Cut(rest, "&")
		b.WriteString(before)
		if !shifted {
			break
		}
		run, after, ended := strings.Cut(after, "-")
		if !ended {
			return "", ErrName
		}
		writeShifted(&b, run)
		rest = after
	}
	name := b.String()
	if EncodeName(name) != wire {
		return "", ErrName
	}
	return name, nil
}

// writeShifted decodes what stands between "&" and "-". It need not look for
// mistakes: the caller compares with the one right encoding.
func writeShifted(b *strings.Builder, run string) {
	if run == "" {
		b.WriteByte('&')
		return
	}
	var bits uint32
	var n uint
	var high rune
	for i := range len(run) {
		bits, n = bits<<6|uint32(base64Value[run[i]]), n+6
		if n < 16 {
			continue
		}
		n -= 16
		unit := rune(bits >> n & 0xffff)
		switch {
		case high != 0:
			b.WriteRune(utf16.DecodeRune(high, unit))
			high = 0
		case unit >= 0xd800 && unit < 0xdc00:
			high = unit
		default:
			b.WriteRune(unit)
		}
	}
}

func plainName(s string) bool {
	return strings.IndexByte(s, '&') < 0 && all(s, classClean)
}
