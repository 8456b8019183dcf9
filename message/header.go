package message

import (
	"bytes"
	"iter"
)

// Field is one field of a raw header. All three alias the header.
type Field struct {
	// Name is empty for a line that is no field.
	Name []byte
	// Value is what follows the colon, folded as it was sent, without the
	// last line break.
	Value []byte
	// Raw is the whole field with its line breaks.
	Raw []byte
}

// Fields goes through the fields of a raw header block. It ends at the empty
// line, or with the block. RFC 5322 section 2.2.
func Fields(header []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for len(header) > 0 && !isEmptyLine(header) {
			raw := header[:fieldLen(header)]
			header = header[len(raw):]
			name, value := splitField(raw)
			if !yield(Field{Name: name, Value: trimBreak(value), Raw: raw}) {
				return
			}
		}
	}
}

// FilterFields appends the fields that are named, or with not those that are
// not named, as they stand in header, and the empty line that ends every
// header. It answers HEADER.FIELDS and HEADER.FIELDS.NOT, RFC 9051 section
// 6.4.5.1. Lines that are no fields belong to HEADER.FIELDS.NOT.
func FilterFields(dst, header []byte, fields []string, not bool) []byte {
	for f := range Fields(header) {
		if isNamed(f.Name, fields) == not {
			continue
		}
		dst = append(dst, f.Raw...)
		if f.Raw[len(f.Raw)-1] != '\n' {
			dst = append(dst, crlf...)
		}
	}
	return append(dst, crlf...)
}

func isNamed(name []byte, fields []string) bool {
	for _, f := range fields {
		if len(name) == len(f) && len(name) > 0 && equalFold(name, f) {
			return true
		}
	}
	return false
}

// equalFold compares ASCII without regard to case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c-'A' < 26 {
		return c + ('a' - 'A')
	}
	return c
}

func isEmptyLine(b []byte) bool {
	return b[0] == '\n' || len(b) > 1 && b[0] == '\r' && b[1] == '\n'
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// fieldLen is the length of the first field with all its folded lines.
func fieldLen(header []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(header[n:], '\n')
		if i < 0 {
			return len(header)
		}
		n += i + 1
		if n == len(header) || !isSpace(header[n]) {
			return n
		}
	}
}

// splitField parts a field at its colon. Without a colon, or with a name that
// cannot be one, there is no name.
func splitField(raw []byte) (name, value []byte) {
	colon := bytes.IndexByte(raw[:min(len(raw), maxName+1)], ':')
	if colon <= 0 {
		return nil, raw
	}
	name = bytes.TrimRight(raw[:colon], " \t")
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return nil, raw
		}
	}
	if len(name) == 0 {
		return nil, raw
	}
	return name, raw[colon+1:]
}

func trimBreak(line []byte) []byte {
	line = bytes.TrimSuffix(line, lineBreak)
	return bytes.TrimSuffix(line, []byte("\r"))
}

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \t") }

// clean makes b, in place, a value of one line: unfolded, RFC 5322 section
// 2.2.3, a CR that ends no line as a space, and without NUL.
func clean(b []byte) []byte {
	if bytes.IndexByte(b, '\r') < 0 && bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, 0) < 0 {
		return b
	}
	out := b[:0]
	for i, c := range b {
		switch {
		case c == 0 || c == '\n':
		case c != '\r':
			out = append(out, c)
		case i+1 < len(b) && b[i+1] != '\n':
			out = append(out, ' ')
		}
	}
	return out
}
