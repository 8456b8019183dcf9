package imapwire

import (
	"testing"
	"time"
)

func TestDateTime(t *testing.T) {
	tests := []struct {
		text string
		unix int64
		same bool // AppendDateTime gives the text again
	}{
		{" 1-Jan-2024 10:00:00 +0000", 1704103200, true},
		{"01-Jan-2024 10:00:00 +0000", 1704103200, false},
		{"1-jan-2024 10:00:00 -0000", 1704103200, false},
		{"29-Feb-2024 23:59:59 +0530", 1709231399, true},
		{"31-Dec-1969 19:00:00 -0500", 0, true},
		{"31-Dec-2016 23:59:60 +0000", 1483228800, false}, // a leap second
	}
	for _, tt := range tests {
		at, err := ParseDateTime(tt.text)
		if err != nil || at.Unix() != tt.unix {
			t.Errorf("%q is %v (%d), %v", tt.text, at, at.Unix(), err)
		}
		if got := string(AppendDateTime(nil, at)); tt.same != (got == tt.text) {
			t.Errorf("%q becomes %q", tt.text, got)
		}
	}
}

func TestDateRefused(t *testing.T) {
	for _, s := range []string{
		"", "-", "1-Jan-2024", "1-Jan-2024 ", "1-Jan-2024 10:00:00", "1-Jan-2024 10:00:00 0000", "1-Jan-2024 10:00:00 +00:0",
		"1-Jan-2024 24:00:00 +0000", "1-Jan-2024 10:60:00 +0000", "1-Jan-2024 10:00:61 +0000", "1-Jan-2024 10:00:00 +2400",
		"1-Jan-2024 10:00:00 +0060", "1-Jan-2024 1a:00:00 +0000", "1-Jan-2024 10:00:00 +0000 ", "  1-Jan-2024 10:00:00 +0000",
		"0-Jan-2024 10:00:00 +0000", "32-Jan-2024 10:00:00 +0000", "30-Feb-2024 10:00:00 +0000", "1-Foo-2024 10:00:00 +0000",
		"1-Jan-024 10:00:00 +0000", "001-Jan-2024 10:00:00 +0000", "1-Jan-2024T10:00:00 +0000", "1 Jan 2024 10:00:00 +0000",
		"1-Jan-2024 10:00:00 *0000",
	} {
		if at, err := ParseDateTime(s); err != ErrDate {
			t.Errorf("date-time %q is %v, %v", s, at, err)
		}
	}
	for _, s := range []string{"", "1", "1-Jan", "1-Jan-24", "29-Feb-2023", "-Jan-2024", "1-anJ-2024", "1-Jan-2024 "} {
		if at, err := ParseDate(s); err != ErrDate {
			t.Errorf("date %q is %v, %v", s, at, err)
		}
	}
}

// Years that the format cannot hold do not make text that cannot be read.
func TestDateOfAnyYear(t *testing.T) {
	for _, year := range []int{-1, 0, 1, 9999, 10000, 123456} {
		at := time.Date(year, 12, 31, 1, 2, 3, 0, time.UTC)
		if got := string(AppendDate(nil, at)); len(got) != len("31-Dec-2024") {
			t.Errorf("year %d is %q", year, got)
		}
		if got := string(AppendDateTime(nil, at)); len(got) != len("31-Dec-2024 01:02:03 +0000") {
			t.Errorf("year %d is %q", year, got)
		}
	}
}

// Local mean time and the like are moved to UTC, not rounded.
func TestDateTimeOfOddZone(t *testing.T) {
	for _, offset := range []int{-17762, 1, 24 * 3600, -99 * 3600} {
		at := time.Unix(1704103200, 0).In(time.FixedZone("", offset))
		if got := string(AppendDateTime(nil, at)); got != " 1-Jan-2024 10:00:00 +0000" {
			t.Errorf("offset %d: %q", offset, got)
		}
	}
}

func FuzzDateTime(f *testing.F) {
	f.Add(" 1-Jan-2024 10:00:00 +0000")
	f.Add("31-Dec-1969 19:00:00 -0530")
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseDateTime(s)
		if err != nil {
			return
		}
		text := string(AppendDateTime(nil, at))
		again, err := ParseDateTime(text)
		if err != nil || !again.Equal(at) && at.Year() < 10000 {
			t.Errorf("%q becomes %q, which is %v, %v", s, text, again, err)
		}
	})
}
