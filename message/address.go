package message

import (
	"bytes"
	"strings"
)

// What stands for the half of an address that is missing. NIL would mean the
// start or the end of a group. RFC 9051 section 7.5.2.
const (
	missingMailbox = "MISSING_MAILBOX"
	missingDomain  = "MISSING_DOMAIN"
)

// addressList is the addresses of one field as wire bytes, without the outer
// parentheses.
type addressList struct {
	wire []byte
	n    int
}

func (l *addressList) reset() { *l = addressList{wire: l.wire[:0]} }

// full also bounds what many fields of one name add up to.
func (l *addressList) full() bool {
	return l.n >= MaxAddresses || len(l.wire) >= 2*maxAddressBytes
}

// appendTo writes the list, or NIL if it is empty.
func (l *addressList) appendTo(dst []byte) []byte {
	if l.n == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	dst = append(dst, l.wire...)
	return append(dst, ')')
}

func (l *addressList) add(name, route, mailbox, host []byte) {
	l.n++
	l.wire = append(l.wire, '(')
	l.wire = append(appendText(l.wire, name), ' ')
	l.wire = append(appendText(l.wire, route), ' ')
	l.wire = append(appendString(l.wire, orElse(mailbox, missingMailbox)), ' ')
	l.wire = append(appendString(l.wire, orElse(host, missingDomain)), ')')
}

func orElse(b []byte, s string) []byte {
	if len(b) == 0 {
		return []byte(s)
	}
	return b
}

func (l *addressList) beginGroup(name []byte) {
	l.n++
	l.wire = append(l.wire, "(NIL NIL "...)
	l.wire = append(appendString(l.wire, name), " NIL)"...)
}

func (l *addressList) endGroup() {
	l.n++
	l.wire = append(l.wire, "(NIL NIL NIL NIL)"...)
}

// addressParser reads an address-list, RFC 5322 section 3.4, and whatever else
// is found in such fields. It goes forward only, and never gives up: a quote
// or a comment that does not end is taken as a plain character.
type addressParser struct {
	in  []byte
	pos int

	text    []byte // the words since the last delimiter, unquoted
	at      int    // of the last unquoted @ in text, or -1
	quoted  bool   // text has quoted words
	comment []byte // the last comment
	name    []byte // what stood before <

	inGroup   bool
	done      bool // an address in angle brackets came before text
	openQuote bool // some quote has no end
	openParen bool // some comment has no end
	openBrack bool // some domain literal has no end
}

// parse adds the addresses of value to l. If value was cut, the address at the
// cut is left out.
func (p *addressParser) parse(l *addressList, value []byte, cut bool) {
	if cut {
		value = value[:max(bytes.LastIndexByte(value, ','), 0)]
	}
	*p = addressParser{in: value, text: p.text[:0], at: -1, comment: p.comment[:0], name: p.name[:0]}
	for more := true; more && !l.full(); {
		more = p.step(l)
	}
	if p.inGroup {
		l.endGroup()
	}
}

// step reads up to a delimiter and does what that asks for.
func (p *addressParser) step(l *addressList) bool {
	switch p.words(",;:<") {
	case ',':
		p.endBare(l)
	case ';':
		p.endBare(l)
		if p.inGroup {
			l.endGroup()
			p.inGroup = false
		}
	case ':':
		p.colon(l)
	case '<':
		p.angle(l)
	default:
		p.endBare(l)
		return false
	}
	return true
}

// colon starts a group, if a group can start here.
func (p *addressParser) colon(l *addressList) {
	if p.inGroup || p.at >= 0 || len(p.text) == 0 || p.done {
		p.text = append(p.text, ':')
		return
	}
	l.beginGroup(p.text)
	p.inGroup = true
	p.clear()
}

// endBare ends an address that has no angle brackets.
func (p *addressParser) endBare(l *addressList) {
	switch mailbox, host := p.split(); {
	case len(p.text) == 0 || p.done:
	case p.at < 0 && bytes.IndexByte(mailbox, ' ') >= 0:
		l.add(mailbox, nil, nil, nil) // several words are a name
	default:
		l.add(p.comment, nil, mailbox, host)
	}
	p.done = false
	p.clear()
}

// angle reads the address after <.
func (p *addressParser) angle(l *addressList) {
	p.name = append(p.name[:0], p.text...)
	p.text, p.at, p.quoted = p.text[:0], -1, false
	route, stop := p.angleWords()
	p.trailingComment()
	name := p.name
	if len(name) == 0 {
		name = p.comment
	}
	mailbox, host := p.split()
	l.add(name, route, mailbox, host)
	p.clear()
	p.done = stop != ','
}

// angleWords reads up to the closing bracket, and over the obsolete source
// route of <@relay,@relay2:mary@example.org>. A comma ends an address whose
// bracket was forgotten.
func (p *addressParser) angleWords() (route []byte, stop byte) {
	stop = p.words(">,:")
	for stop == ',' && p.isRoute() {
		p.text = append(p.text, ',')
		stop = p.words(">,:")
	}
	if stop == ':' && p.isRoute() {
		route = bytes.Clone(removeSpace(p.text))
		p.text, p.at, p.quoted = p.text[:0], -1, false
		stop = p.words(">,:")
	}
	for stop == ':' {
		p.text = append(p.text, ':')
		stop = p.words(">,:")
	}
	return route, stop
}

func (p *addressParser) isRoute() bool { return len(p.text) > 0 && p.text[0] == '@' }

// trailingComment reads the name in <mary@example.org> (Mary).
func (p *addressParser) trailingComment() {
	i := p.pos
	for i < len(p.in) && isSpace(p.in[i]) {
		i++
	}
	if i < len(p.in) && p.in[i] == '(' {
		p.pos = i
		p.skipComment()
	}
}

func (p *addressParser) clear() {
	p.text, p.at, p.quoted, p.comment = p.text[:0], -1, false, p.comment[:0]
}

// split parts text at its last @.
func (p *addressParser) split() (mailbox, host []byte) {
	mailbox = p.text
	if p.at >= 0 {
		mailbox, host = p.text[:p.at], removeSpace(p.text[p.at+1:])
	}
	mailbox = trimSpace(mailbox)
	if !p.quoted && bytes.IndexByte(mailbox, '.') >= 0 && bytes.IndexByte(mailbox, ' ') >= 0 {
		mailbox = bytes.ReplaceAll(mailbox, []byte(" ."), []byte("."))
		mailbox = bytes.ReplaceAll(mailbox, []byte(". "), []byte("."))
	}
	return mailbox, host
}

func removeSpace(b []byte) []byte {
	if bytes.IndexByte(b, ' ') < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte(" "), nil)
}

// words adds words to text up to one of the stop characters, which it returns,
// or 0 at the end. Words are kept apart by one space.
func (p *addressParser) words(stops string) byte {
	space := false
	for p.pos < len(p.in) {
		c := p.in[p.pos]
		switch {
		case strings.IndexByte(stops, c) >= 0:
			p.pos++
			return c
		case isSpace(c):
			p.pos++
			space = true
		case c == '(' && p.skipComment():
			space = true
		default:
			if space && len(p.text) > 0 {
				p.text = append(p.text, ' ')
			}
			space = false
			p.word(c)
		}
	}
	return 0
}

// word adds the word or the single character that starts with c.
func (p *addressParser) word(c byte) {
	switch {
	case c == '"':
		if !p.quotedString() {
			p.pos++
		}
	case c == '[' && p.domainLiteral():
	default:
		if c == '@' {
			p.at = len(p.text)
		}
		p.text = append(p.text, c)
		p.pos++
	}
}

// quotedString adds the content of the quoted string here, if it has an end.
func (p *addressParser) quotedString() bool {
	if p.openQuote {
		return false
	}
	n := quotedLen(p.in[p.pos:])
	if n < 0 {
		p.openQuote = true
		return false
	}
	p.quoted = true
	p.text = appendUnescaped(p.text, p.in[p.pos+1:p.pos+n-1])
	p.pos += n
	return true
}

// domainLiteral adds the [literal] here, if it has an end.
func (p *addressParser) domainLiteral() bool {
	if p.openBrack {
		return false
	}
	n := bytes.IndexByte(p.in[p.pos:], ']')
	if n < 0 {
		p.openBrack = true
		return false
	}
	p.text = append(p.text, p.in[p.pos:p.pos+n+1]...)
	p.pos += n + 1
	return true
}

// skipComment keeps the comment here and goes behind it, if it has an end.
func (p *addressParser) skipComment() bool {
	if p.openParen {
		return false
	}
	n := commentLen(p.in[p.pos:])
	if n < 0 {
		p.openParen = true
		return false
	}
	inner := trimSpace(p.in[p.pos+1 : p.pos+n-1])
	p.comment = appendUnescaped(p.comment[:0], inner)
	p.pos += n
	return true
}
