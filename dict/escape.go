package dict

import (
	"strings"
	"unicode/utf8"
)

// Escape makes any string usable as one component of a key. A slash, a percent
// sign, a control character and a byte that is not UTF-8 become a percent sign
// and two upper-case hexadecimal digits. Ordinary names stay as they are, so
// that their keys equal Dovecot's, which escapes nothing.
func Escape(component string) string {
	i := unsafeIndex(component)
	if i < 0 {
		return component
	}
	var b strings.Builder
	b.Grow(len(component) + 8)
	for i >= 0 {
		b.WriteString(component[:i])
		b.WriteByte('%')
		b.WriteByte(hexDigits[component[i]>>4])
		b.WriteByte(hexDigits[component[i]&15])
		component = component[i+1:]
		i = unsafeIndex(component)
	}
	b.WriteString(component)
	return b.String()
}

// Unescape is the inverse of Escape. Only the escapes of bytes that Escape may
// replace are undone; any other percent sign stands for itself, so names in
// Dovecot's keys are left alone as far as possible. The result may hold slashes
// and control characters.
func Unescape(component string) string {
	i := strings.IndexByte(component, '%')
	if i < 0 {
		return component
	}
	var b strings.Builder
	b.Grow(len(component))
	for ; i >= 0; i = strings.IndexByte(component, '%') {
		b.WriteString(component[:i])
		component = component[i:]
		c, n := escaped(component)
		b.WriteByte(c)
		component = component[n:]
	}
	b.WriteString(component)
	return b.String()
}

const hexDigits = "0123456789ABCDEF"

// unsafeIndex finds the first byte that Escape has to replace.
func unsafeIndex(s string) int {
	for i := 0; i < len(s); {
		if isUnsafe(s[i]) {
			return i
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func isUnsafe(c byte) bool {
	return c < ' ' || c == '/' || c == '%' || c == 0x7f
}

// escaped reads one escape sequence, or the percent sign alone, at the start of s.
func escaped(s string) (c byte, size int) {
	if len(s) >= 3 {
		hi, lo := strings.IndexByte(hexDigits, s[1]), strings.IndexByte(hexDigits, s[2])
		if c := byte(hi<<4 | lo); hi >= 0 && lo >= 0 && (isUnsafe(c) || c >= utf8.RuneSelf) {
			return c, 3
		}
	}
	return '%', 1
}
