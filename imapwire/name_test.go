package imapwire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestName(t *testing.T) {
	tests := []struct{ name, wire string }{
		{"", ""},
		{"INBOX", "INBOX"},
		{"A&B", "A&-B"},
		{"&", "&-"},
		{"&&", "&-&-"},
		{"Entwürfe", "Entw&APw-rfe"},
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, // RFC 3501 section 5.1.3
		{"é&é", "&AOk-&-&AOk-"},
		{"é-é", "&AOk--&AOk-"},
		{"éé", "&AOkA6Q-"},
		{"😀", "&2D3eAA-"},
		{"a😀b", "a&2D3eAA-b"},
		{"tab\there", "tab&AAk-here"},
		{"del\x7f", "del&AH8-"},
		{"\ufffd", "&,,0-"},
		{"\ufffe", "&,,4-"},
	}
	for _, tt := range tests {
		if got := EncodeName(tt.name); got != tt.wire {
			t.Errorf("EncodeName(%q) = %q, want %q", tt.name, got, tt.wire)
		}
		if got, err := DecodeName(tt.wire); got != tt.name || err != nil {
			t.Errorf("DecodeName(%q) = %q, %v, want %q", tt.wire, got, err, tt.name)
		}
	}
}

func TestDecodeNameRefuses(t *testing.T) {
	tests := map[string]string{
		"not ended":               "&AOk",
		"lone shift":              "a&",
		"8 bit":                   "Entwürfe",
		"8 bit beside base64":     "&AOk-é",
		"control":                 "a\tb",
		"line end":                "a\r\n",
		"NUL":                     "&-\x00",
		"printable in base64":     "&AEE-",
		"printable inside run":    "&AOkAQQDp-",
		"ampersand in base64":     "&ACY-",
		"two runs for one":        "&AOk-&AOk-",
		"ended too early":         "&AO-",
		"one letter":              "&A-",
		"bits left over":          "&AOl-",
		"letters left over":       "&AOkA-",
		"padding":                 "&AOk=-",
		"slash of other alphabet": "&//0-",
		"space in base64":         "&AO k-",
		"high surrogate alone":    "&2D0-",
		"low surrogate alone":     "&3gA-",
		"surrogates in disorder":  "&3gDYPQ-",
		"two high surrogates":     "&2D3YPQ-",
		"high surrogate and text": "&2D0A6Q-",
	}
	for name, wire := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := DecodeName(wire); err != ErrName {
				t.Errorf("DecodeName(%q) = %q, %v", wire, got, err)
			}
		})
	}
}

func TestEncodeNameOfBadUTF8(t *testing.T) {
	if got := EncodeName("a\xff\xfeb"); got != "a&,,3,,Q-b" {
		t.Errorf("got %q", got)
	}
}

// Every UTF-8 name comes back, and a name on the wire has one meaning or none.
func FuzzName(f *testing.F) {
	for _, s := range []string{"INBOX", "A&B", "é-é", "😀", "&AOk-&AOk-", "&2D3eAA-", "&,,0-", "\xff", "&3gDYPQ-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		wire := EncodeName(s)
		if !all(wire, classClean) {
			t.Errorf("EncodeName(%q) = %q", s, wire)
		}
		back, err := DecodeName(wire)
		if want := strings.ToValidUTF8(s, "\ufffd"); err != nil || utf8.ValidString(s) && back != want {
			t.Errorf("%q comes back as %q, %v", s, back, err)
		}
		if name, err := DecodeName(s); err == nil && EncodeName(name) != s {
			t.Errorf("DecodeName(%q) = %q, which is %q", s, name, EncodeName(name))
		}
	})
}

func BenchmarkEncodeName(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		EncodeName("Projekte/Entwürfe/2024")
	}
}

func BenchmarkDecodeName(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = DecodeName("Projekte/Entw&APw-rfe/2024")
	}
}
