package message

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	tests := []struct{ in, want string }{ // want in RFC 3339, "" for none
		{"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
		{"Tue, 1 Jul 2003 10:52:37 +0200 (CEST)", "2003-07-01T10:52:37+02:00"},
		{"1 Jul 2003 10:52 GMT", "2003-07-01T10:52:00Z"},
		{"21 Nov 97 09:55:06 PST", "1997-11-21T09:55:06-08:00"},
		{"21 Nov 49 09:55 Z", "2049-11-21T09:55:00Z"},
		{"21 Nov 103 09:55 UT", "2003-11-21T09:55:00Z"},
		{"Thu,\t13 Feb 1969 23:32 -0330 (Newfoundland Time)", "1969-02-13T23:32:00-03:30"},
		{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T09:55:06-06:00"},
		{"Sat Nov  7 15:04:05 2026", "2026-11-07T15:04:05Z"},
		{"Sat Nov  7 15:04:05 EST 2026", "2026-11-07T15:04:05-05:00"},
		{"Sat, 7-Nov-2026 15:04:05 +01:00", "2026-11-07T15:04:05+01:00"},
		{"2026-11-07T15:04:05Z", "2026-11-07T15:04:05Z"},
		{"2026-11-07 15:04:05.123 -0500", "2026-11-07T15:04:05-05:00"},
		{"7 November 2026 3:04 PM", "2026-11-07T15:04:00Z"},
		{"sáb, 7 nov 2026 15:04:05 +0100", "2026-11-07T15:04:05+01:00"},
		{"7 Nov 2026", "2026-11-07T00:00:00Z"},
		{"7 Nov 2026 15:04:05 +9999", "2026-11-07T15:04:05Z"},
		{"7 Nov 2026 15:04:60 GMT+0200", "2026-11-07T15:05:00+02:00"},
		{"7 Nov 2026 25:00:00 +0000", ""},
		{"32 Nov 2026 15:00:00 +0000", ""},
		{"0 Nov 2026 15:00:00 +0000", ""},
		{"99999999999999 Nov 2026", ""},
		{"Nov 2026", ""},
		{"yesterday", ""},
		{"", ""},
	}
	for _, tt := range tests {
		d, ok := ParseDate([]byte(tt.in))
		got := ""
		if ok {
			got = d.Time().Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "NIL"},
		{" , ,", "NIL"},
		{"(only a comment)", "NIL"},
		{"a@b", `((NIL NIL "a" "b"))`},
		{"A <a@b>", `(("A" NIL "a" "b"))`},
		{"John Q. Public <j@b>", `(("John Q. Public" NIL "j" "b"))`},
		{`"Doe, \"John\"" <a@b>`, `(("Doe, \"John\"" NIL "a" "b"))`},
		{"a@b (A B)", `(("A B" NIL "a" "b"))`},
		{"a . b @ c . d", `((NIL NIL "a.b" "c.d"))`},
		{`"a@b"@c`, `((NIL NIL "a@b" "c"))`},
		{`"a@b"`, `((NIL NIL "a@b" "MISSING_DOMAIN"))`},
		{"g: a@b, c@d;, e@f", `((NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL NIL "c" "d")(NIL NIL NIL NIL)(NIL NIL "e" "f"))`},
		{"g:;", `((NIL NIL "g" NIL)(NIL NIL NIL NIL))`},
		{"g: h: a@b;", `((NIL NIL "g" NIL)(NIL NIL "h: a" "b")(NIL NIL NIL NIL))`},
		{":;", `((NIL NIL ":" "MISSING_DOMAIN"))`},
		{"<@x,@y:a@b>", `((NIL "@x,@y" "a" "b"))`},
		{"<@x>", `((NIL NIL "MISSING_MAILBOX" "x"))`},
		{"<a@b", `((NIL NIL "a" "b"))`},
		{"A <a@b> B <c@d>", `(("A" NIL "a" "b")("B" NIL "c" "d"))`},
		{"a@[IPv6:::1]", `((NIL NIL "a" "[IPv6:::1]"))`},
		{"a@[b, c@d", `((NIL NIL "a" "[b")(NIL NIL "c" "d"))`},
		{"(unclosed a@b, c@d", `((NIL NIL "(unclosed a" "b")(NIL NIL "c" "d"))`},
		{"=?utf-8?Q?=C3=A9?= <a@b>", `(("=?utf-8?Q?=C3=A9?=" NIL "a" "b"))`},
		{"\xc3\xa9 <\xc3\xa9@b>", "(({2}\r\n\xc3\xa9 NIL {2}\r\n\xc3\xa9 \"b\"))"},
		{`a\b <a@b>`, `(("a\\b" NIL "a" "b"))`},
		{"postmaster (the office)", `(("the office" NIL "postmaster" "MISSING_DOMAIN"))`},
		{"undisclosed recipients", `(("undisclosed recipients" NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))`},
		{"a@b>", `((NIL NIL "a" "b>"))`},
	}
	for _, tt := range tests {
		var l addressList
		var p addressParser
		p.parse(&l, []byte(tt.in), false)
		if got := string(l.appendTo(nil)); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestFilterFields(t *testing.T) {
	header := "Received: by x\r\n\tfor y\r\nSubject : one\r\nTo: a\r\njunk\r\nSUBJECT: two\n three\r\n\r\nnot this"
	tests := []struct {
		header string
		fields []string
		not    bool
		want   string
	}{
		{header, []string{"subject"}, false, "Subject : one\r\nSUBJECT: two\n three\r\n\r\n"},
		{header, []string{"TO", "received", "x"}, false, "Received: by x\r\n\tfor y\r\nTo: a\r\n\r\n"},
		{header, []string{"subject", "received"}, true, "To: a\r\njunk\r\n\r\n"},
		{header, []string{"x", "junk", ""}, false, "\r\n"},
		{"To: a", []string{"To"}, false, "To: a\r\n\r\n"},
		{"", []string{"To"}, true, "\r\n"},
		{"\r\n", []string{"To"}, true, "\r\n"},
		{" folded first\r\nTo: a\r\n", []string{"To"}, false, "To: a\r\n\r\n"},
	}
	for _, tt := range tests {
		if got := string(FilterFields(nil, []byte(tt.header), tt.fields, tt.not)); got != tt.want {
			t.Errorf("%q %q %v: got %q, want %q", tt.header, tt.fields, tt.not, got, tt.want)
		}
	}
}

func TestFields(t *testing.T) {
	var got []string
	for f := range Fields([]byte("A: 1\r\n 2\r\nb:3\nno field\r\n: nameless\r\nC : \r\n\r\nD: body\r\n")) {
		got = append(got, string(f.Name)+"="+string(f.Value))
	}
	want := "A= 1\r\n 2|b=3|=no field|=: nameless|C= "
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

func TestAppendDecoded(t *testing.T) {
	tests := []struct{ in, want string }{
		{" plain\r\n text ", "plain text"},
		{"=?utf-8?Q?caf=C3=A9_au=20lait?=", "café au lait"},
		{"=?UTF-8?b?Y2Fmw6k=?=", "café"},
		{"=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab"},
		{"=?utf-8?Q?a?=\r\n =?iso-8859-1?Q?=E9?= c", "aé c"},
		{"x =?utf-8?Q?a?= y", "x a y"},
		{"=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "é"},
		{"=?utf-8*fr?Q?=C3=A9?=", "é"},
		{"=?x-unknown?Q?a=E9?=", "aé"},
		{"=?utf-8?X?a?= b", "=?utf-8?X?a?= b"},
		{"=?utf-8?Q?open", "=?utf-8?Q?open"},
		{"=?=?utf-8?Q?a?=", "=?a"},
		{"=?utf-8?Q??=", ""},
		{"a=?utf-8?Q?=4?=b", "a=4b"},
		{"(=?utf-8?Q?a?=)", "(a)"},
		{"caf\xe9", "café"},
		{"stray\rCR\r\r\n\tand\x00 NUL\r", "stray CR \tand NUL"},
		{"=?", "=?"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := string(appendDecoded(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTransferDecoder(t *testing.T) {
	tests := []struct {
		encoding Encoding
		in, want string
	}{
		{EncodingIdentity, "a=20\r\n", "a=20\r\n"},
		{EncodingBase64, "SGVs\r\nbG8=", "Hello"},
		{EncodingBase64, "SGVsbG8=SGk=", "HelloHi"},
		{EncodingBase64, "SGVsbG8", "Hello"},
		{EncodingBase64, "*S G-V_s!bG8===", "Hello"},
		{EncodingBase64, "S", ""},
		{EncodingQuotedPrintable, "a=3Db=c3=A9", "a=b\xc3\xa9"},
		{EncodingQuotedPrintable, "soft=\r\n break= \t\r\n twice=\nthrice", "soft break twicethrice"},
		{EncodingQuotedPrintable, "a=zz =4", "a=zz =4"},
		{EncodingQuotedPrintable, "a==41=4=41= b=", "a=A=4A= b="},
		{EncodingQuotedPrintable, "a=\rb=\r=41", "abA"},
	}
	for _, tt := range tests {
		for step := 1; step <= len(tt.in); step++ {
			dec := transferDecoder{encoding: tt.encoding}
			var got []byte
			for rest := []byte(tt.in); len(rest) > 0; {
				n := min(step, len(rest))
				got = dec.decode(got, rest[:n], n == len(rest))
				rest = rest[n:]
			}
			if string(got) != tt.want {
				t.Errorf("%q in steps of %d: got %q, want %q", tt.in, step, got, tt.want)
			}
		}
	}
}

func TestAppendString(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `""`},
		{`a"b\c`, `"a\"b\\c"`},
		{"a\x00b", `"ab"`},
		{"\xc3\xa9", "{2}\r\n\xc3\xa9"},
		{"a\r\nb", "{4}\r\na\r\nb"},
		{"\x00\xff", "{1}\r\n\xff"},
		{"tab\tand \x7f", "\"tab\tand \x7f\""},
	}
	for _, tt := range tests {
		got := appendString(nil, []byte(tt.in))
		if string(got) != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
		if err := checkWire(got); err != nil {
			t.Errorf("%q: %v", got, err)
		}
	}
}

func TestAppendText(t *testing.T) {
	msg := fixture(t, "alternative-attachments")
	d := ScanBytes(msg)
	i, ok := d.Find([]int{1, 1})
	if !ok {
		t.Fatal("no part 1.1")
	}
	var m Matcher
	text, err := m.AppendText(nil, bytes.NewReader(msg), &d.Parts[i], 100)
	if want := "The figures are attached, they are très bien.\r\n"; err != nil || string(text) != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
}
