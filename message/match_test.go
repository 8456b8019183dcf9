package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		fixture, needle string
		body, text      bool
	}{
		{"plain", "usual PLACE", true, true},
		{"plain", "Lunch", false, true},
		{"plain", "subject: lunch on tuesday", false, true},
		{"plain", "example.net with ESMTPS", false, true},
		{"plain", "", true, true},
		{"plain", "Ann\r\n", true, true},
		{"plain", "dinner", false, false},
		{"html", "viele grüße", true, true},
		{"html", "VIELE GRÜSSE", false, false},
		{"html", "heute regnet", true, true},
		{"html", "Renée FRANÇOIS", false, true},
		{"html", "Jürgen Müller", false, true},
		{"html", "Grüße aus Zürich", false, true},
		{"html", "gru\u0308\u00dfe AUS ZU\u0308RICH", false, true},
		{"alternative-attachments", "tr\u00e8s bien", true, true},
		{"alternative-attachments", "<i>figures</i>", true, true},
		{"alternative-attachments", "Q3,1200", true, true},
		{"alternative-attachments", "%PDF", false, false},
		{"alternative-attachments", "JVBER", false, false},
		{"alternative-attachments", "logo.png", false, true},
		{"alternative-attachments", "multi-part message", false, false},
		{"nested-message", "innermost letter", true, true},
		{"nested-message", "der innere brief über käse", true, true},
		{"nested-message", "innermost text", true, true},
		{"nested-message", "Fwd:", false, true},
		{"nested-message", "deeper still", false, true},
		{"japanese", "会議のお知らせ", false, true},
		{"japanese", "火曜日の会議", true, true},
		{"japanese", "山田太郎", false, true},
		{"eight-bit", "ΑΘΉΝΑ", true, true},
		{"eight-bit", "ŁUKASZ", false, true},
		{"latin1-unlabelled", "CAFÉ", true, true},
		{"latin1-unlabelled", "cafe", true, true},
		{"latin1-unlabelled", "café fermé", false, true},
		{"latin1-unlabelled", "caf\u00e8", false, false},
		{"signed", "-- \r\nAnn", true, true},
		{"signed", "BEGIN PGP", false, false},
		{"no-parts", "a preamble", true, true},
		{"empty", "x", false, false},
	}
	var m Matcher
	for _, tt := range tests {
		msg := fixture(t, tt.fixture)
		d, n := ScanBytes(msg), NewNeedle(tt.needle)
		body, errBody := m.Body(bytes.NewReader(msg), d, n)
		text, errText := m.Text(bytes.NewReader(msg), d, n)
		if errBody != nil || errText != nil {
			t.Fatal(errBody, errText)
		}
		if body != tt.body || text != tt.text {
			t.Errorf("%s, %q: body %v, text %v", tt.fixture, tt.needle, body, text)
		}
	}
}

func TestMatchHeader(t *testing.T) {
	header := mail(
		"From: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>",
		"To: one@example.org,", "\ttwo@example.org",
		"X-Empty:",
		"to: three@example.org",
		"not a field",
		"", "To: body@example.org", "")
	tests := []struct {
		field, needle string
		want          bool
	}{
		{"From", "jürgen <j@", true},
		{"FROM", "=?utf-8", false},
		{"To", "TWO", true},
		{"To", "org,\ttwo", true},
		{"To", "three", true},
		{"To", "body", false},
		{"To", "", true},
		{"X-Empty", "", true},
		{"X-Empty", "x", false},
		{"Cc", "", false},
		{"Cc", "x", false},
		{"", "not", false},
	}
	var m Matcher
	for _, tt := range tests {
		if got := m.Header(header, tt.field, NewNeedle(tt.needle)); got != tt.want {
			t.Errorf("%q %q: %v", tt.field, tt.needle, got)
		}
	}
}

func TestMatchReadError(t *testing.T) {
	msg := fixture(t, "plain")
	d := ScanBytes(msg)
	var m Matcher
	if _, err := m.Text(slowReader{msg, 1}, d, NewNeedle("x")); !errors.Is(err, errDisk) {
		t.Errorf("got %v", err)
	}
	if _, err := m.Body(bytes.NewReader(msg[:450]), d, NewNeedle("x")); err == nil {
		t.Error("a message shorter than its digest gives no error")
	}
}

// TestMatchAcrossChunks puts a text across the border of two reads, at each
// place, in each encoding.
func TestMatchAcrossChunks(t *testing.T) {
	const text = "Straßenbahn – 東京 – Ñandú"
	encodings := []struct {
		name   string
		encode func(string) string
	}{
		{"8bit", func(s string) string { return s }},
		{"quoted-printable", func(s string) string {
			var b strings.Builder
			for i := range len(s) {
				if c := s[i]; c >= 0x80 {
					b.WriteString("=" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
				} else {
					b.WriteByte(c)
				}
			}
			return b.String()
		}},
		{"base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
	}
	var m Matcher
	n := NewNeedle(text)
	for _, e := range encodings {
		for shift := range 60 {
			pad := strings.Repeat("x", chunkSize-shift)
			if e.name == "base64" {
				pad = strings.Repeat("x", chunkSize*3/4-shift)
			}
			msg := mail("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: "+e.name, "", e.encode(pad+text))
			found, err := m.Body(bytes.NewReader(msg), ScanBytes(msg), n)
			if err != nil || !found {
				t.Errorf("%s, %d bytes before the border: %v, %v", e.name, shift, found, err)
			}
		}
	}
}

func TestNeedle(t *testing.T) {
	tests := []struct {
		text, needle string
		want         bool
	}{
		{"Hello", "hELLO", true},
		{"Hello", "", true},
		{"", "x", false},
		{"ΣΊΣΥΦΟΣ", "σίσυφος", true},
		{"\u212a", "k", true}, // the Kelvin sign
		{"Ünal", "ünal", true},
		{"U\u0308nal", "ünal", true},
		{"Ünal", "unal", false}, // the mark stands between
		{"Ü", "u", true},
		{"u", "ü", false},
		{"ПРИВЕТ", "привет", true},
		{"\xe9t\xe9", "été", true},
		{"İ", "i", true},
		{"ｈｅｌｌｏ", "HELLO", true}, // RFC 5051: wide letters are letters
		{"한국어", "국", true},
	}
	for _, tt := range tests {
		if got := NewNeedle(tt.needle).matchString(tt.text); got != tt.want {
			t.Errorf("%q in %q: %v", tt.needle, tt.text, got)
		}
	}
}

// FuzzMatch compares a search in small steps with one in the whole decoded
// text.
func FuzzMatch(f *testing.F) {
	f.Add([]byte("SGVsbG8gV29ybGQ="), []byte("utf-8"), "world", uint8(1), uint8(3))
	f.Add([]byte("H=E9llo =\r\nW=C3=B6rld ="), []byte("utf-8"), "wörld", uint8(2), uint8(1))
	f.Add([]byte("\x1b$B2q5D\x1b(B"), []byte("iso-2022-jp"), "会議", uint8(0), uint8(2))
	f.Add([]byte("\x82\xa0\x82"), []byte("shift_jis"), "あ", uint8(0), uint8(1))
	f.Add([]byte("H\x00i\x00\xd8"), []byte("utf-16le"), "hi", uint8(0), uint8(1))
	f.Add([]byte("caf\xc3\xa9 \xe9 \xe2\x82"), []byte("x-unknown"), "é", uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, raw, charset []byte, needle string, encoding, step uint8) {
		if step == 0 {
			step = 1
		}
		n := NewNeedle(needle)
		if n.Empty() {
			return
		}
		e := Encoding(encoding % uint8(numEncodings))
		whole := decodeIn(raw, charset, e, len(raw))
		var f folder
		want := bytes.Contains(f.append(nil, whole), n.folded)
		if pieces := decodeIn(raw, charset, e, int(step)); !bytes.Equal(pieces, whole) {
			t.Fatalf("decoded in steps of %d: %q, at once: %q", step, pieces, whole)
		}
		var m Matcher
		found := false
		for rest := whole; len(rest) > 0 && !found; {
			// pieces of text end between characters, as decode makes them
			_, size := appendUTF8(nil, rest[:min(len(rest), int(step)+3)], false)
			found = m.feed(rest[:size], n)
			rest = rest[size:]
		}
		if found != want {
			t.Fatalf("%q in %q: %v, want %v", needle, whole, found, want)
		}
	})
}

func decodeIn(raw, charset []byte, e Encoding, step int) []byte {
	transfer := transferDecoder{encoding: e}
	var text charsetDecoder
	text.reset(charset)
	var all []byte
	for len(raw) > 0 {
		n := min(step, len(raw))
		chunk := transfer.decode(nil, raw[:n], n == len(raw))
		all = text.decode(all, chunk, n == len(raw))
		raw = raw[n:]
	}
	return all
}
