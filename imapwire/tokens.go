package imapwire

import (
	"math"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
)

// SP consumes one space.
func (d *Decoder) SP() bool { return d.Special(' ') }

// Special consumes the byte b.
func (d *Decoder) Special(b byte) bool {
	if !d.need(1) || d.buf[d.pos] != b {
		return false
	}
	return d.advance(1)
}

// CRLF consumes the end of the line, which may be a bare LF. The next token is
// one of the next line.
func (d *Decoder) CRLF() bool {
	if !d.newline() {
		return false
	}
	d.lineEnd()
	return true
}

// newline consumes CRLF or LF, without ending the line: a literal may follow.
// It does not count as part of the line, so that no limit fails behind it,
// where SkipLine would take the next line for the rest of this one.
func (d *Decoder) newline() bool {
	n := 1
	if b, ok := d.PeekByte(); ok && b == '\r' {
		n = 2
	}
	if !d.need(n) || d.buf[d.pos+n-1] != '\n' {
		return false
	}
	d.pos += n
	d.begun = true
	return true
}

// word consumes one or more bytes in c.
func (d *Decoder) word(s *string, c class) bool {
	if !d.next(c) {
		return false
	}
	tok := d.span(c)
	if d.err != nil {
		return false
	}
	*s = string(tok)
	return true
}

// Tag consumes the tag of a command or a response.
func (d *Decoder) Tag(s *string) bool { return d.word(s, classTag) }

// Atom consumes an atom. It ends before "[", which begins a section or a
// response code and is not used in other atoms.
func (d *Decoder) Atom(s *string) bool { return d.word(s, classAtom) }

// SeqSet consumes the text of a sequence set, or "$" of RFC 5182. Whether it
// is a set is for imap.ParseNumSet to say.
func (d *Decoder) SeqSet(s *string) bool { return d.word(s, classSet) }

// Text consumes the rest of the line, without its end. It may be empty.
func (d *Decoder) Text(s *string) bool {
	tok := d.span(classText)
	if d.err != nil {
		return false
	}
	*s = string(tok)
	return true
}

// Flag consumes a system flag, a keyword or the "\*" of PERMANENTFLAGS, as it
// is written.
func (d *Decoder) Flag(f *imap.Flag) bool {
	b, ok := d.PeekByte()
	if !ok || b != '\\' && classOf[b]&classKeyword == 0 {
		return false
	}
	var s, prefix string
	if d.Special('\\') {
		prefix = `\`
		if d.Special('*') {
			*f = `\*`
			return true
		}
	}
	if !d.word(&s, classKeyword) {
		return d.failSyntax("Invalid flag")
	}
	*f = imap.Flag(prefix + s)
	return true
}

// FlagList consumes flags in parentheses. What l held is lost.
func (d *Decoder) FlagList(l *[]imap.Flag) bool {
	if b, ok := d.PeekByte(); !ok || b != '(' {
		return false
	}
	*l = nil
	return d.List(func() error {
		var f imap.Flag
		if d.ExpectFlag(&f) {
			*l = append(*l, f)
		}
		return d.err
	}) == nil
}

// StoreFlags consumes flags as STORE has them: in parentheses, or as they are
// to the end of the line. RFC 9051 section 6.4.6.
func (d *Decoder) StoreFlags(l *[]imap.Flag) bool {
	if d.FlagList(l) {
		return true
	}
	var f imap.Flag
	if !d.Flag(&f) {
		return false
	}
	*l = []imap.Flag{f}
	for d.SP() {
		if len(*l) >= d.lim.ListItems {
			return d.failLimit(imap.CodeNone, "Too many flags")
		}
		if !d.ExpectFlag(&f) {
			return false
		}
		*l = append(*l, f)
	}
	return d.err == nil
}

// Number consumes a number of 32 bits. Leading zeros are allowed.
func (d *Decoder) Number(n *uint32) bool {
	var v uint64
	if !d.number(&v, math.MaxUint32) {
		return false
	}
	*n = uint32(v)
	return true
}

// Number64 consumes a number of 63 bits. RFC 9051 section 9.
func (d *Decoder) Number64(n *uint64) bool { return d.number(n, math.MaxInt64) }

func (d *Decoder) number(n *uint64, limit uint64) bool {
	var v uint64
	for i := 0; ; i++ {
		if !d.need(1) {
			return false
		}
		b := d.buf[d.pos]
		if b < '0' || b > '9' {
			*n = v
			return i > 0
		}
		digit := uint64(b - '0')
		if v > (limit-digit)/10 {
			return d.failSyntax("Number is too great")
		}
		v = 10*v + digit
		if !d.advance(1) {
			return false
		}
	}
}

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

// QuotedString consumes a string in quotes. 8-bit bytes are given as they are.
func (d *Decoder) QuotedString(s *string) bool {
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
