package imapwire

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrDate is text that is no date or date-time of RFC 9051 section 9.
var ErrDate = errors.New("not a date")

const monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"

// AppendDateTime appends t, in its own zone and without quotes, as in
// " 1-Jan-2024 10:00:00 +0000". A zone that cannot be written so becomes UTC,
// and the year is brought into 0 to 9999.
func AppendDateTime(b []byte, t time.Time) []byte {
	_, offset := t.Zone()
	if offset%60 != 0 || offset <= -24*3600 || offset >= 24*3600 {
		t, offset = t.UTC(), 0
	}
	if t.Day() < 10 {
		b = append(b, ' ')
	}
	b = AppendDate(b, t)
	b = appendTwo(append(b, ' '), t.Hour())
	b = appendTwo(append(b, ':'), t.Minute())
	b = appendTwo(append(b, ':'), t.Second())
	sign := byte('+')
	if offset < 0 {
		sign, offset = '-', -offset
	}
	b = appendTwo(append(b, ' ', sign), offset/3600)
	return appendTwo(b, offset/60%60)
}

// AppendDate appends the day of t in its own zone, as in "1-Jan-2024".
func AppendDate(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	year = min(max(year, 0), 9999)
	b = strconv.AppendInt(b, int64(day), 10)
	b = append(b, '-')
	b = append(b, monthNames[3*month-3:3*month]...)
	b = append(b, '-')
	return appendTwo(appendTwo(b, year/100), year%100)
}

func appendTwo(b []byte, n int) []byte {
	return append(b, byte('0'+n/10), byte('0'+n%10))
}

// ParseDateTime parses what AppendDateTime gives; the space before a day of
// one digit may be missing.
func ParseDateTime(s string) (time.Time, error) {
	date, rest, _ := strings.Cut(strings.TrimPrefix(s, " "), " ")
	year, month, day, ok := dateFields(date)
	if !ok || len(rest) != len("10:00:00 +0000") || rest[2] != ':' || rest[5] != ':' || rest[8] != ' ' {
		return time.Time{}, ErrDate
	}
	hour, ok1 := digits(rest[0:2], 23)
	minute, ok2 := digits(rest[3:5], 59)
	second, ok3 := digits(rest[6:8], 60)
	zone, ok4 := parseZone(rest[9:])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return time.Time{}, ErrDate
	}
	return time.Date(year, month, day, hour, minute, second, 0, zone), nil
}

// ParseDate parses a date; the result is its midnight in UTC.
func ParseDate(s string) (time.Time, error) {
	year, month, day, ok := dateFields(s)
	if !ok {
		return time.Time{}, ErrDate
	}
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC), nil
}

func dateFields(s string) (year int, month time.Month, day int, ok bool) {
	d, rest, _ := strings.Cut(s, "-")
	if len(d) < 1 || len(d) > 2 || len(rest) != len("Jan-2024") || rest[3] != '-' {
		return 0, 0, 0, false
	}
	day, ok1 := digits(d, 31)
	year, ok2 := digits(rest[4:], 9999)
	month, ok3 := parseMonth(rest[:3])
	if !ok1 || !ok2 || !ok3 || time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day() != day {
		return 0, 0, 0, false
	}
	return year, month, day, true
}

func parseMonth(s string) (time.Month, bool) {
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(monthNames[3*m-3:3*m], s) {
			return m, true
		}
	}
	return 0, false
}

func parseZone(s string) (*time.Location, bool) {
	hours, ok1 := digits(s[1:3], 23)
	minutes, ok2 := digits(s[3:5], 59)
	offset := hours*3600 + minutes*60
	switch {
	case !ok1 || !ok2 || s[0] != '+' && s[0] != '-':
		return nil, false
	case offset == 0:
		return time.UTC, true
	case s[0] == '-':
		offset = -offset
	}
	return time.FixedZone("", offset), true
}

// digits is the number s, which has only digits and is at most limit.
func digits(s string, limit int) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, s != "" && n <= limit
}
