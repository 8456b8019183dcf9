package message

import (
	"bytes"
	"strconv"
)

// appendString writes s as an IMAP string: quoted if it is 7-bit text of one
// line, else a literal. NUL, which neither may hold, is left out.
// RFC 9051 section 4.3.
func appendString(dst, s []byte) []byte {
	if bytes.IndexByte(s, 0) >= 0 {
		s = bytes.ReplaceAll(s, []byte{0}, nil)
	}
	if needsLiteral(s) {
		dst = append(dst, '{')
		dst = strconv.AppendInt(dst, int64(len(s)), 10)
		dst = append(dst, "}\r\n"...)
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

func needsLiteral(s []byte) bool {
	for _, c := range s {
		if c >= 0x80 || c == '\r' || c == '\n' {
			return true
		}
	}
	return false
}

// appendNString writes NIL for nil, and s otherwise.
func appendNString(dst, s []byte) []byte {
	if s == nil {
		return append(dst, "NIL"...)
	}
	return appendString(dst, s)
}

// appendText writes NIL where s says nothing.
func appendText(dst, s []byte) []byte {
	if len(s) == 0 {
		return append(dst, "NIL"...)
	}
	return appendString(dst, s)
}

func appendNumber(dst []byte, n int64) []byte {
	return strconv.AppendInt(dst, n, 10)
}

// skipItem returns what follows the first item of b: a string, a literal, an
// atom or a list. What is not well-formed ends at the end of b.
func skipItem(b []byte) []byte {
	depth := 0
	for len(b) > 0 {
		switch b[0] {
		case '(':
			depth++
			b = b[1:]
		case ')':
			depth--
			b = b[1:]
		case ' ':
			b = b[1:]
		default:
			b = skipToken(b)
		}
		if depth <= 0 {
			return b
		}
	}
	return b
}

func skipToken(b []byte) []byte {
	switch b[0] {
	case '"':
		return skipQuoted(b)
	case '{':
		return skipLiteral(b)
	}
	n := bytes.IndexAny(b, " ()")
	if n < 0 {
		return nil
	}
	return b[n:]
}

func skipQuoted(b []byte) []byte {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[i+1:]
		}
	}
	return nil
}

func skipLiteral(b []byte) []byte {
	head, rest, ok := bytes.Cut(b[1:], []byte("}\r\n"))
	if !ok || len(head) > 18 {
		return nil
	}
	n, err := strconv.ParseUint(string(head), 10, 63)
	if err != nil || n > uint64(len(rest)) {
		return nil
	}
	return rest[n:]
}
