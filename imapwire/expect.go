package imapwire

import (
	"time"

	"github.com/roost-mail/roost/imap"
)

// The methods here are those of the same name without Expect, but a token that
// is not there is a syntax error of the line.

// ExpectSpecial consumes the byte b or fails.
func (d *Decoder) ExpectSpecial(b byte) bool {
	ok := d.Special(b)
	if !ok {
		d.failSyntax("Expected %q", string(rune(b)))
	}
	return ok
}

// ExpectSP is SP or an error.
func (d *Decoder) ExpectSP() bool { return d.Expect(d.SP(), "space") }

// ExpectCRLF is CRLF or an error.
func (d *Decoder) ExpectCRLF() bool { return d.Expect(d.CRLF(), "end of line") }

// ExpectTag is Tag or an error.
func (d *Decoder) ExpectTag(s *string) bool { return d.Expect(d.Tag(s), "tag") }

// ExpectAtom is Atom or an error.
func (d *Decoder) ExpectAtom(s *string) bool { return d.Expect(d.Atom(s), "atom") }

// ExpectAString is AString or an error.
func (d *Decoder) ExpectAString(s *string) bool { return d.Expect(d.AString(s), "atom or string") }

// ExpectString is String or an error.
func (d *Decoder) ExpectString(s *string) bool { return d.Expect(d.String(s), "string") }

// ExpectNString is NString or an error.
func (d *Decoder) ExpectNString(s *string, null *bool) bool {
	return d.Expect(d.NString(s, null), "string or NIL")
}

// ExpectSeqSet is SeqSet or an error.
func (d *Decoder) ExpectSeqSet(s *string) bool { return d.Expect(d.SeqSet(s), "sequence set") }

// ExpectFlag is Flag or an error.
func (d *Decoder) ExpectFlag(f *imap.Flag) bool { return d.Expect(d.Flag(f), "flag") }

// ExpectFlagList is FlagList or an error.
func (d *Decoder) ExpectFlagList(l *[]imap.Flag) bool {
	return d.Expect(d.FlagList(l), "list of flags")
}

// ExpectStoreFlags is StoreFlags or an error.
func (d *Decoder) ExpectStoreFlags(l *[]imap.Flag) bool { return d.Expect(d.StoreFlags(l), "flags") }

// ExpectNumber is Number or an error.
func (d *Decoder) ExpectNumber(n *uint32) bool { return d.Expect(d.Number(n), "number") }

// ExpectNumber64 is Number64 or an error.
func (d *Decoder) ExpectNumber64(n *uint64) bool { return d.Expect(d.Number64(n), "number") }

// ExpectMailbox is Mailbox or an error.
func (d *Decoder) ExpectMailbox(name *string) bool { return d.Expect(d.Mailbox(name), "mailbox name") }

// ExpectListMailbox is ListMailbox or an error.
func (d *Decoder) ExpectListMailbox(pattern *string) bool {
	return d.Expect(d.ListMailbox(pattern), "mailbox pattern")
}

// ExpectDateTime is DateTime or an error.
func (d *Decoder) ExpectDateTime(t *time.Time) bool { return d.Expect(d.DateTime(t), "date and time") }

// ExpectDate is Date or an error.
func (d *Decoder) ExpectDate(t *time.Time) bool { return d.Expect(d.Date(t), "date") }
