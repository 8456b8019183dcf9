package imapwire

import "strings"

// class is a set of byte values; each is a bit in the table classOf.
type class uint16

const (
	// classAtom is ATOM-CHAR without "[", so that BODY[1] gives the atom BODY.
	classAtom class = 1 << iota
	// classKeyword is ATOM-CHAR of RFC 9051 section 9, as flags need it.
	classKeyword
	// classAString is what a peer may send unquoted where an astring is asked
	// for: ASTRING-CHAR, and the specials "%", "*" and "\" that clients forget
	// to quote in passwords and patterns, where nothing can be confused by it.
	classAString
	// classTag is ASTRING-CHAR without "+".
	classTag
	// classDigit is 0 to 9.
	classDigit
	// classSet is what a sequence set is made of, with "$" of RFC 5182.
	classSet
	// classText is TEXT-CHAR with 8-bit bytes.
	classText
	// classQuoted is what stands for itself inside quotes.
	classQuoted
	// classPlain is what RawValue passes over inside of a list.
	classPlain
	// classBare is one unquoted value for RawValue.
	classBare
	// classAtomOut is classAtom with the brackets of sections.
	classAtomOut
	// class8Bit is what is not ASCII.
	class8Bit
	// classCode is what stands inside of a response code.
	classCode
	// classClean is what a quoted string may hold on the way out: printable ASCII.
	classClean
)

var classOf = buildClasses()

func buildClasses() (t [256]class) {
	for i := range t {
		t[i] = classesOf(byte(i))
	}
	return t
}

func classesOf(b byte) (c class) {
	add := func(in bool, bit class) {
		if in {
			c |= bit
		}
	}
	digit := b >= '0' && b <= '9'
	visible := b > ' ' && b < 0x7f
	not := func(specials string) bool { return strings.IndexByte(specials, b) < 0 }
	add(visible && not(`(){%*"\][`), classAtom)
	add(visible && not(`(){%*"\]`), classKeyword)
	add(visible && not(`(){"`), classAString)
	add(visible && not(`(){%*"\+`), classTag)
	add(digit, classDigit)
	add(digit || !not(":,*$"), classSet)
	add(not("\x00\r\n"), classText)
	add(not("\x00\r\n\"\\"), classQuoted)
	add(not("\x00\r\n\"(){"), classPlain)
	add(not("\x00\r\n\"(){ "), classBare)
	add(visible && not(`(){%*"\`), classAtomOut)
	add(b >= 0x80, class8Bit)
	add(not("\x00\r\n]"), classCode)
	add(b == ' ' || visible, classClean)
	return c
}

// all reports whether every byte of s is in c.
func all(s string, c class) bool {
	for i := range len(s) {
		if classOf[s[i]]&c == 0 {
			return false
		}
	}
	return true
}
