package imapwire

import "strconv"

// AppendString appends s as a string of a response: quoted if it is short
// printable ASCII, else a literal. NUL, which neither may hold, becomes "?".
func AppendString(b []byte, s string) []byte {
	if len(s) <= maxQuoted && all(s, classClean) {
		return appendQuoted(b, s)
	}
	b = appendLiteralHeader(b, int64(len(s)))
	return appendWithoutNUL(b, s)
}

// AppendAString appends s as an atom if it can be one, else as AppendString does.
func AppendAString(b []byte, s string) []byte {
	if isAtom(s) {
		return append(b, s...)
	}
	return AppendString(b, s)
}

// maxQuoted is the longest string that is sent in quotes: longer ones would
// make lines that a reader has to limit.
const maxQuoted = 1024

// isAtom says no to NIL, which an astring of that name must not look like.
func isAtom(s string) bool {
	return s != "" && len(s) <= maxQuoted && all(s, classAtom) && !isNIL(s)
}

func isNIL(s string) bool {
	return len(s) == 3 && s[0]&^0x20 == 'N' && s[1]&^0x20 == 'I' && s[2]&^0x20 == 'L'
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func appendWithoutNUL(b []byte, s string) []byte {
	start := len(b)
	b = append(b, s...)
	for i := start; i < len(b); i++ {
		if b[i] == 0 {
			b[i] = '?'
		}
	}
	return b
}

func appendLiteralHeader(b []byte, size int64) []byte {
	b = append(b, '{')
	b = strconv.AppendInt(b, size, 10)
	return append(b, "}\r\n"...)
}
