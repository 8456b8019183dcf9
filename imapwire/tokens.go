package imapwire

import (
	"math"

	"github.com/roost-mail/roost/imap"
)

// SP consumes one space.
func (d *Decoder) SP() bool { return d.Special(' ') }

// SPBefore consumes a space that b follows, and not b.
func (d *Decoder) SPBefore(b byte) bool {
	if !d.need(1) || d.buf[d.pos] != ' ' || !d.need(2) || d.buf[d.pos+1] != b {
		return false
	}
	return d.advance(1)
}

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

// AppendTag is Tag for who keeps a buffer: it appends the tag to dst, and
// allocates nothing if there is room.
func (d *Decoder) AppendTag(dst []byte) (buf []byte, ok bool) { return d.appendWord(dst, classTag) }

// AppendAtom is Atom likewise.
func (d *Decoder) AppendAtom(dst []byte) (buf []byte, ok bool) { return d.appendWord(dst, classAtom) }

func (d *Decoder) appendWord(dst []byte, c class) ([]byte, bool) {
	if !d.next(c) {
		return dst, false
	}
	tok := d.span(c)
	if d.err != nil {
		return dst, false
	}
	return append(dst, tok...), true
}

// SeqSet consumes the text of a sequence set, or "$" of RFC 5182. Whether it
// is a set is for imap.ParseNumSet to say.
func (d *Decoder) SeqSet(s *string) bool { return d.word(s, classSet) }

// Text consumes the rest of the line, without its end. It may be empty. What
// looks like a literal header is text: commands need other tokens than this.
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
