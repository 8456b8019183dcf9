package message

import (
	"bytes"
	"strings"
)

// quotedLen is the length of the quoted string at the start of b, quotes
// included, or -1 if it does not end. RFC 5322 section 3.2.4.
func quotedLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// commentLen is the length of the comment at the start of b, which may hold
// comments, or -1 if it does not end. RFC 5322 section 3.2.2.
func commentLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// appendUnescaped resolves quoted pairs.
func appendUnescaped(dst, b []byte) []byte {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 == len(b) {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		dst = append(dst, b[i+1])
		b = b[i+2:]
	}
}

// skipSpace skips spaces and comments. A comment that does not end takes all
// the rest, so that no byte is looked at twice.
func skipSpace(b []byte) []byte {
	for len(b) > 0 {
		switch {
		case isSpace(b[0]):
			b = b[1:]
		case b[0] == '(':
			n := commentLen(b)
			if n < 0 {
				return nil
			}
			b = b[n:]
		default:
			return b
		}
	}
	return b
}

// token cuts the token at the start of b, which may be empty. RFC 2045
// section 5.1.
func token(b []byte) (tok, rest []byte) {
	n := 0
	for n < len(b) && isTokenByte(b[n]) {
		n++
	}
	return b[:n], b[n:]
}

func isTokenByte(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}
