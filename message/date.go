package message

import (
	"bytes"
	"time"
)

// Date is a moment with the time zone it was written in. The zero Date is no
// date.
type Date struct {
	// Unix is seconds since 1970 UTC.
	Unix int64
	// Offset is the zone in minutes east of UTC.
	Offset int16
	// Valid is false for a missing or unreadable date.
	Valid bool
}

// Time is the moment in its own zone. SENTBEFORE, SENTON and SENTSINCE compare
// its calendar day, RFC 9051 section 6.4.4.
func (d Date) Time() time.Time {
	return time.Unix(d.Unix, 0).In(time.FixedZone("", int(d.Offset)*60))
}

// ParseDate reads a date and time as RFC 5322 section 3.3 has them, obsolete
// forms included, and what else is found in mail: asctime's order, dashes,
// missing seconds or zones, two-digit years, ISO 8601. It looks at the
// leading 256 bytes.
func ParseDate(b []byte) (Date, bool) {
	p := dateParser{in: b[:min(len(b), 256)], month: -1, hour: -1}
	for len(p.in) > 0 {
		if !p.step() {
			return Date{}, false
		}
	}
	return p.date()
}

// dateParser collects the pieces of a date in whatever order they come.
type dateParser struct {
	in      []byte
	numbers [3]int // day and year, or year, month, day
	digits  [3]int
	n       int
	month   int // from 0
	hour    int
	minute  int
	second  int
	offset  int
	zoned   bool
}

// step takes the next piece; false means that this is no date.
func (p *dateParser) step() bool {
	c := p.in[0]
	switch {
	case isDigit(c):
		return p.number()
	case isLetter(c):
		p.word()
		return true
	case (c == '+' || c == '-') && p.hour >= 0 && len(p.in) > 1 && isDigit(p.in[1]) && !p.zoned:
		p.zone()
		return true
	case c == '(':
		if n := commentLen(p.in); n > 0 {
			p.in = p.in[n:]
			return true
		}
	}
	p.in = p.in[1:]
	return true
}

func isDigit(c byte) bool { return c-'0' < 10 }

func isLetter(c byte) bool { return lower(c)-'a' < 26 }

// digitsOf cuts a number of at most six digits.
func (p *dateParser) digitsOf() (value, n int) {
	for n < len(p.in) && n < 7 && isDigit(p.in[n]) {
		value = value*10 + int(p.in[n]-'0')
		n++
	}
	p.in = p.in[n:]
	return value, n
}

func (p *dateParser) number() bool {
	v, n := p.digitsOf()
	if p.hour < 0 && p.colon() {
		p.hour = v
		return p.clock() && n <= 2
	}
	if p.n == len(p.numbers) {
		return p.hour >= 0 // something behind a complete date
	}
	p.numbers[p.n], p.digits[p.n] = v, n
	p.n++
	return n <= 4
}

// colon goes to the number behind a colon, if that follows. RFC 5322 section
// 4.3 allows space and comments around it.
func (p *dateParser) colon() bool {
	rest := skipSpace(p.in)
	if len(rest) == 0 || rest[0] != ':' {
		return false
	}
	rest = skipSpace(rest[1:])
	if len(rest) == 0 || !isDigit(rest[0]) {
		return false
	}
	p.in = rest
	return true
}

// clock reads what follows the hour.
func (p *dateParser) clock() bool {
	p.minute, _ = p.digitsOf()
	if p.colon() {
		p.second, _ = p.digitsOf()
	}
	if len(p.in) > 1 && (p.in[0] == '.' || p.in[0] == ',') && isDigit(p.in[1]) {
		p.in = p.in[1:]
		p.digitsOf()
	}
	return p.hour < 24 && p.minute < 60 && p.second <= 60
}

// zone reads +hhmm, +hh:mm or +hh.
func (p *dateParser) zone() {
	west := p.in[0] == '-'
	p.in = p.in[1:]
	v, n := p.digitsOf()
	switch {
	case n <= 2 && len(p.in) > 2 && p.in[0] == ':' && isDigit(p.in[1]):
		p.in = p.in[1:]
		minutes, _ := p.digitsOf()
		v = v*60 + minutes
	case n <= 2:
		v *= 60
	default:
		v = v/100*60 + v%100
	}
	if v >= 24*60 {
		v = 0 // the time is better than nothing
	}
	if west {
		v = -v
	}
	p.offset, p.zoned = v, true
}

const monthNames = "janfebmaraprmayjunjulaugsepoctnovdec"

// word reads the name of a month or zone. Other words before the time, names
// of days in any language and the T of ISO 8601, say nothing.
func (p *dateParser) word() {
	n := 0
	for n < len(p.in) && isLetter(p.in[n]) {
		n++
	}
	word := p.in[:n]
	p.in = p.in[n:]
	if n >= 3 && p.month < 0 {
		if m := indexName(monthNames, word[:3]); m >= 0 {
			p.month = m
			return
		}
	}
	if p.hour >= 0 {
		p.zoneName(word)
	}
}

func indexName(names string, word []byte) int {
	for i := 0; i < len(names); i += 3 {
		if equalFold(word, names[i:i+3]) {
			return i / 3
		}
	}
	return -1
}

// zoneName reads a named zone, RFC 5322 section 4.3, and am or pm. Unknown
// zones are UTC.
func (p *dateParser) zoneName(word []byte) {
	switch {
	case equalFold(word, "pm") && p.hour < 12:
		p.hour += 12
		return
	case equalFold(word, "am") && p.hour == 12:
		p.hour = 0
		return
	case p.zoned:
		return
	}
	hours := 0
	switch string(bytes.ToUpper(word[:min(len(word), 5)])) {
	case "EST", "CDT":
		hours = -5
	case "EDT":
		hours = -4
	case "CST", "MDT":
		hours = -6
	case "MST", "PDT":
		hours = -7
	case "PST":
		hours = -8
	case "CET", "MET", "BST":
		hours = 1
	case "CEST", "MEST", "EET":
		hours = 2
	case "EEST", "MSK":
		hours = 3
	case "JST", "KST":
		hours = 9
	}
	p.offset = hours * 60
}

// date puts the pieces together.
func (p *dateParser) date() (Date, bool) {
	day, year, month := p.numbers[0], p.numbers[1], p.month
	yearDigits := p.digits[1]
	switch {
	case month >= 0 && p.n >= 2:
		if p.digits[0] > 2 {
			day, year, yearDigits = year, day, p.digits[0]
		}
	case p.n == 3 && p.digits[0] == 4:
		year, month, day = p.numbers[0], p.numbers[1]-1, p.numbers[2]
		yearDigits = 4
	default:
		return Date{}, false
	}
	if day < 1 || day > 31 || month > 11 || month < 0 {
		return Date{}, false
	}
	t := time.Date(fullYear(year, yearDigits), time.Month(month+1), day,
		max(p.hour, 0), p.minute, p.second, 0, time.UTC)
	return Date{Unix: t.Unix() - int64(p.offset)*60, Offset: int16(p.offset), Valid: true}, true
}

// fullYear is RFC 5322 section 4.3's reading of short years.
func fullYear(year, digits int) int {
	switch {
	case digits <= 2 && year < 50:
		return 2000 + year
	case digits <= 3:
		return 1900 + year
	}
	return year
}
