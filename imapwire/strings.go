package imapwire

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/roost-mail/roost/imap"
)

// NIL consumes the atom NIL, in any case of letters.
func (d *Decoder) NIL() bool {
	for i := range 3 {
		if !d.need(i+1) || d.buf[d.pos+i]&^0x20 != "NIL"[i] {
			return false
		}
	}
	if !d.need(4) || classOf[d.buf[d.pos+3]]&classKeyword != 0 {
		return false
	}
	return d.advance(3)
}

// QuotedString consumes a string in quotes. 8-bit bytes are given as they are; if
// the peer has agreed to UTF-8 they have to be that (RFC 6855 section 3).
func (d *Decoder) QuotedString(s *string) bool {
	if !d.quoted(s) {
		return false
	}
	if d.UTF8 && !utf8.ValidString(*s) {
		return d.failSyntax("Invalid UTF-8")
	}
	return true
}

func (d *Decoder) quoted(s *string) bool {
	if !d.Special('"') {
		return false
	}
	var long []byte
	for {
		part := d.span(classQuoted)
		switch {
		case d.err != nil:
			return false
		case d.buf[d.pos] == '"' && long == nil:
			*s = string(part)
			return d.advance(1)
		case d.buf[d.pos] == '"':
			*s = string(append(long, part...))
			return d.advance(1)
		case d.buf[d.pos] != '\\':
			return d.failSyntax("Missing closing quote")
		}
		long = append(long, part...)
		if !d.advance(1) || !d.need(1) {
			return false
		}
		if !d.next(classText) {
			return d.failSyntax("Invalid quoted string")
		}
		long = append(long, d.buf[d.pos])
		if !d.advance(1) {
			return false
		}
	}
}

// String consumes a string: quoted, or a literal, which is read into memory.
func (d *Decoder) String(s *string) bool {
	b, ok := d.PeekByte()
	switch {
	case !ok:
		return false
	case b == '"':
		return d.QuotedString(s)
	case !d.beginHeld():
		return false
	}
	content, ok := d.readHeld(nil)
	if !ok {
		return false
	}
	*s = string(content)
	return true
}

// AString consumes an atom or a string.
func (d *Decoder) AString(s *string) bool {
	if d.next(classAString) && d.buf[d.pos] != '~' {
		return d.word(s, classAString)
	}
	return d.tildeString(s)
}

// tildeString is String, where "~" may begin a literal8 or an atom.
func (d *Decoder) tildeString(s *string) bool {
	if !d.next(classAString) {
		return d.String(s)
	}
	if d.need(2) && d.buf[d.pos+1] == '{' {
		return d.String(s)
	}
	return d.word(s, classAString)
}

// NString consumes a string or NIL. For NIL, *s becomes empty; null, which may
// be nil, is set to whether it was NIL.
func (d *Decoder) NString(s *string, null *bool) bool {
	isNIL := d.NIL()
	if isNIL {
		*s = ""
	} else if !d.String(s) {
		return false
	}
	if null != nil {
		*null = isNIL
	}
	return true
}

// Mailbox consumes a mailbox name and makes it UTF-8, and canonical as in
// imap.CanonicalName. A name that cannot be one fails with the code CANNOT.
func (d *Decoder) Mailbox(name *string) bool {
	var wire string
	if !d.AString(&wire) {
		return false
	}
	decoded, err := d.decodeName(wire)
	if err != nil {
		d.Fail(&imap.Error{Code: imap.CodeCannot, Text: "Invalid mailbox name", Err: err})
		return false
	}
	*name = imap.CanonicalName(decoded)
	return true
}

// ListMailbox consumes a pattern of LIST and makes it UTF-8. A pattern that is
// not modified UTF-7 is given as it is: a wildcard may cut an encoded run.
func (d *Decoder) ListMailbox(pattern *string) bool {
	var wire string
	if !d.AString(&wire) {
		return false
	}
	decoded, err := d.decodeName(wire)
	if err != nil {
		decoded = strings.ToValidUTF8(wire, "\uFFFD")
	}
	*pattern = decoded
	return true
}

// decodeName takes UTF-8 also from who has not enabled it: modified UTF-7 has no
// 8-bit bytes, and there are clients that believe in a capability (RFC 6855
// section 3).
func (d *Decoder) decodeName(wire string) (string, error) {
	if !d.UTF8 && isASCII(wire) {
		return DecodeName(wire)
	}
	if !utf8.ValidString(wire) {
		return "", ErrName
	}
	return wire, nil
}

// DateTime consumes a date-time, which is always quoted.
func (d *Decoder) DateTime(t *time.Time) bool {
	var s string
	return d.QuotedString(&s) && d.setTime(t, s, ParseDateTime)
}

// Date consumes a date, with quotes or without. Its time is midnight in UTC.
func (d *Decoder) Date(t *time.Time) bool {
	var s string
	return (d.QuotedString(&s) || d.Atom(&s)) && d.setTime(t, s, ParseDate)
}

func (d *Decoder) setTime(t *time.Time, s string, parse func(string) (time.Time, error)) bool {
	parsed, err := parse(s)
	if err != nil {
		return d.failSyntax("Invalid date")
	}
	*t = parsed
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
