package imapwire

import (
	"bytes"

	"github.com/roost-mail/roost/imap"
)

// List consumes a list in parentheses. It calls item at the start of each
// value; the value has to be consumed. An error of item becomes the error of
// the line.
func (d *Decoder) List(item func() error) error {
	if !d.ExpectSpecial('(') {
		return d.err
	}
	if d.depth >= d.lim.Depth {
		d.failLimit(imap.CodeNone, "Lists are nested too deep")
		return d.err
	}
	d.depth++
	defer func() { d.depth-- }()
	if d.Special(')') {
		return nil
	}
	for n := 1; d.err == nil; n++ {
		if n > d.lim.ListItems {
			d.failLimit(imap.CodeNone, "List is too long")
			break
		}
		if err := item(); err != nil {
			d.Fail(err)
			return err
		}
		if d.Special(')') {
			return nil
		}
		d.ExpectSP()
	}
	return d.err
}

// RawValue consumes one value, and returns a copy of its bytes as they came:
// an atom, a number, NIL, a string or a list of such, with the quotes and the
// literals inside. Only the headers of literals are in one spelling: {n} CRLF. It is for what is handed on unparsed.
func (d *Decoder) RawValue() ([]byte, error) { return d.AppendRawValue(nil) }

// AppendRawValue is RawValue for who has a buffer to use again: out is
// overwritten, and returned with the value as its whole content.
func (d *Decoder) AppendRawValue(out []byte) ([]byte, error) {
	out = out[:0]
	if n := d.bufferedList(); n > 0 {
		out = append(out, d.buf[d.pos:d.pos+n]...)
		d.advance(n)
		return out, d.err
	}
	depth := 0
	for {
		b, ok := d.PeekByte()
		switch {
		case !ok:
			return nil, d.err
		case b == '(':
			if depth++; d.depth+depth > d.lim.Depth {
				d.failLimit(imap.CodeNone, "Lists are nested too deep")
			}
			out = d.copyByte(out)
		case b == ')' && depth > 0:
			depth--
			out = d.copyByte(out)
		case b == '"':
			out = d.rawQuoted(out)
		case b == '{':
			out = d.rawLiteral(out)
		case b == '~' && d.need(2) && d.buf[d.pos+1] == '{':
			out = d.rawLiteral(d.copyByte(out))
		case depth > 0 && classOf[b]&classPlain != 0:
			out = append(out, d.span(classPlain)...)
		case depth == 0 && classOf[b]&classBare != 0:
			out = append(out, d.span(classBare)...)
		default:
			d.failSyntax("Expected value")
		}
		if d.err != nil {
			return nil, d.err
		}
		if depth == 0 {
			return out, nil
		}
	}
}

// bufferedList is the length of the list that comes next, if all of it is
// buffered and it holds nothing that needs more than to be copied; otherwise 0.
// It accepts nothing that the way byte by byte would not.
func (d *Decoder) bufferedList() int {
	if b, ok := d.PeekByte(); !ok || b != '(' {
		return 0
	}
	return d.ListLen(d.buf[d.pos:d.end])
}

// ListLen is the length of the list that b begins with, if it ends in b and holds
// nothing but what a line can hold: no literal, and no deeper list than allowed.
// Otherwise it is 0.
func (d *Decoder) ListLen(b []byte) int {
	if len(b) == 0 || b[0] != '(' {
		return 0
	}
	rest, depth := b, 0
	for i := 0; i < len(rest); i++ {
		switch b := rest[i]; {
		case classOf[b]&classPlain != 0 && b != '~': // most bytes, so first
		case b == '(':
			if depth++; d.depth+depth > d.lim.Depth {
				return 0
			}
		case b == ')':
			if depth--; depth == 0 {
				return i + 1
			}
		case b == '"':
			n := quotedLen(rest[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		default:
			return 0
		}
	}
	return 0
}

// quotedLen is the length of the quoted string that b begins with, 0 if it does
// not end in b or is none.
func quotedLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case classOf[c]&classQuoted != 0: // most bytes, so first
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(b) || classOf[b[i]]&classText == 0 {
				return 0
			}
		default:
			return 0
		}
	}
	return 0
}

// copyByte consumes the next byte, which is there.
func (d *Decoder) copyByte(out []byte) []byte {
	out = append(out, d.buf[d.pos])
	d.advance(1)
	return out
}

func (d *Decoder) rawQuoted(out []byte) []byte {
	out = d.copyByte(out)
	for {
		out = append(out, d.span(classQuoted)...)
		switch {
		case d.err != nil:
			return out
		case d.buf[d.pos] == '"':
			return d.copyByte(out)
		case d.buf[d.pos] != '\\':
			d.failSyntax("Missing closing quote")
			return out
		}
		if out = d.copyByte(out); !d.next(classText) {
			d.failSyntax("Invalid quoted string")
			return out
		}
		out = d.copyByte(out)
	}
}

// rawLiteral copies a literal, whose header is next. The header is written
// anew, without the "+" of RFC 7888, which must not reach the other side.
func (d *Decoder) rawLiteral(out []byte) []byte {
	if !d.beginHeld() {
		return out
	}
	d.lit.Binary = bytes.HasSuffix(out, []byte{'~'})
	out = appendLiteralHeader(out, d.lit.Size)
	out, _ = d.readHeld(out)
	return out
}

// Code consumes a response code in brackets: its name, and what stands between
// the name and the "]", which may be empty. RFC 9051 section 7.1.
func (d *Decoder) Code(name, args *string) bool {
	if !d.Special('[') || !d.ExpectAtom(name) {
		return false
	}
	*args = ""
	if d.SP() && !d.word(args, classCode) {
		return d.failSyntax("Invalid response code")
	}
	return d.ExpectSpecial(']')
}
