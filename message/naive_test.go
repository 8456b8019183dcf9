package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding"
)

// naiveText is Matcher.Text (or Body) as RFC 9051 section 6.4.4 reads: all text
// is decoded, folded character by character, and looked through.
func naiveText(msg []byte, d *Digest, needle string, body bool) bool {
	want := naiveFold([]byte(needle))
	for i := range d.Parts {
		p := &d.Parts[i]
		if !body || i > 0 && d.isMessage(int32(i)) {
			for f := range Fields(msg[p.HeaderOff:p.BodyOff()]) {
				text := append(append([]byte(nil), f.Name...), ": "...)
				if bytes.Contains(naiveFold(appendDecoded(text, f.Value)), want) {
					return true
				}
			}
		}
		if p.Kind == KindLeaf && p.IsText() && bytes.Contains(naiveFold(naiveDecode(msg, p)), want) {
			return true
		}
	}
	return len(want) == 0
}

func naiveDecode(msg []byte, p *Part) []byte {
	t := transferDecoder{encoding: p.Encoding}
	text := t.decode(nil, msg[p.BodyOff():p.BodyOff()+p.BodyLen], true)
	if enc := lookupCharset(p.Charset); enc != nil {
		var c charsetDecoder
		c.reset(p.Charset)
		return c.decode(nil, text, true)
	}
	return text
}

func naiveFold(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			r = rune(text[0])
		}
		out = appendTitle(out, r)
		text = text[size:]
	}
	return out
}

// checkMatch compares all ways to search with the naive one.
func checkMatch(t *testing.T, m *Matcher, msg []byte, needle string) bool {
	t.Helper()
	d, n := ScanBytes(msg), NewNeedle(needle)
	anywhere := false
	for _, body := range []bool{false, true} {
		want := naiveText(msg, d, needle, body)
		for _, r := range []io.ReaderAt{bytes.NewReader(msg), Memory(msg)} {
			search := m.Text
			if body {
				search = m.Body
			}
			if got, err := search(r, d, n); err != nil || got != want {
				t.Fatalf("body %v, %T: %v, %v; want %v\nneedle %q\nmessage %q", body, r, got, err, want, needle, msg)
			}
		}
		anywhere = anywhere || want
	}
	return anywhere
}

// TestMatchHeaderIsExact searches the fields of random headers.
func TestMatchHeaderIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	unfolded := strings.NewReplacer("\r\n", "\r\n ")
	names := []string{"Subject", "subject ", "X-Subject", "Sub", "Subject\t", "From"}
	var m Matcher
	var found [2]int
	for range 30_000 {
		var header strings.Builder
		for range rnd.IntN(3) + 1 {
			fmt.Fprintf(&header, "%s:%s\r\n", names[rnd.IntN(len(names))], unfolded.Replace(randomText(rnd, rnd.IntN(6))))
		}
		header.WriteString([]string{"\r\n", "", "\r\nSubject: all\r\n"}[rnd.IntN(3)])
		needle := randomText(rnd, rnd.IntN(3))
		raw, n := []byte(header.String()), NewNeedle(needle)
		want := false
		for f := range Fields(raw) {
			want = want || strings.EqualFold(string(f.Name), "subject") && bytes.Contains(naiveFold(appendDecoded(nil, f.Value)), naiveFold([]byte(needle)))
		}
		if got := m.Header(raw, "Subject", n); got != want {
			t.Fatalf("%v, want %v: needle %q\n%q", got, want, needle, raw)
		}
		if want {
			found[min(len(needle), 1)]++
		}
	}
	if found[0] < 500 || found[1] < 500 {
		t.Errorf("%v needles found, empty and not: the test says little", found)
	}
}

// words are what random mail is made of: what is easily mistaken stands close together.
var randomWords = []string{
	"all", "work", "WORK", "Aa", "aA", "aaa", "zq", "x", "7", "é", "E", "e\u0301", "ß", "ſ", "K", "Ж", "ж", "日本", "İ", "ŉ", "=", "=?", "?=",
	":", ": ", " ", "  ", "\t", "\r\n", "=\r\n", "=E9", "=C3=A9", "=?utf-8?Q?caf=C3=A9?=", "\x1b$B", "\x1b(B", "\x00", "\xff", "\xc3", "~{", ">", "<>",
}

func randomText(rnd *rand.Rand, n int) string {
	var s strings.Builder
	for range n {
		s.WriteString(randomWords[rnd.IntN(len(randomWords))])
	}
	return s.String()
}

func randomPart(rnd *rand.Rand) string {
	charset := []string{"us-ascii", "utf-8", "iso-8859-1", "iso-2022-jp", "koi8-r", "utf-16le", "x-unknown", "gb18030", "shift_jis"}[rnd.IntN(9)]
	size := rnd.IntN(12)
	if rnd.IntN(20) == 0 {
		size = 20_000 // several chunks
	}
	text := randomText(rnd, size)
	encodingName := []string{"8bit", "quoted-printable", "base64"}[rnd.IntN(3)]
	if enc := lookupCharset([]byte(charset)); enc != nil && rnd.IntN(2) == 0 {
		text, _ = encoding.ReplaceUnsupported(enc.NewEncoder()).String(text)
	}
	if encodingName == "base64" {
		text = base64.StdEncoding.EncodeToString([]byte(text))
		if len(text) > 10 {
			text = text[:7] + "\r\n" + text[7:]
		}
	}
	return fmt.Sprintf("Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\nSubject: %s\r\n\r\n%s",
		charset, encodingName, strings.NewReplacer("\r\n", "\r\n ", "\x00", "").Replace(randomText(rnd, 4)), text)
}

// TestMatchIsExact searches random mail for pieces of it.
func TestMatchIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var m Matcher
	found, n := 0, 4000
	if testing.Short() {
		n = 500
	}
	for range n {
		msg := randomPart(rnd)
		if rnd.IntN(2) == 0 {
			msg = "Content-Type: multipart/mixed; boundary=b\r\nX-Long: " + randomText(rnd, 3) + "\r\n\r\n--b\r\n" + randomPart(rnd) + "\r\n--b\r\n" + randomPart(rnd) + "\r\n--b--\r\n"
		}
		needle := randomText(rnd, 1+rnd.IntN(3))
		if rnd.IntN(3) == 0 {
			needle = strings.ToUpper(needle)
		}
		if checkMatch(t, &m, []byte(msg), needle) {
			found++
		}
	}
	if found < n/20 || found > n*19/20 {
		t.Errorf("%d of %d needles found: the test says little", found, n)
	}
}

// TestFinder looks for texts in texts of few letters, whose beginnings are everywhere.
func TestFinder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	random := func(letters string, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		return b
	}
	var scratch []byte
	found := 0
	for range 20_000 {
		letters := []string{"aA", "abAB", "e tzTZ", "@`'{[Zz"}[rnd.IntN(4)]
		text, needle := random(letters, rnd.IntN(12_000)>>rnd.IntN(12)), random(letters, rnd.IntN(20))
		f := newFinder(bytes.ToUpper(needle))
		want := bytes.Contains(bytes.ToUpper(text), bytes.ToUpper(needle))
		if got := f.in(text, &scratch); got != want {
			t.Fatalf("%q in %q: %v", needle, text, got)
		}
		if want {
			found++
		}
	}
	if found < 2000 || found > 18_000 {
		t.Errorf("%d of 20000 found: the test says little", found)
	}
}

func FuzzMatchIsExact(f *testing.F) {
	f.Add([]byte("Subject: a\r\n\r\nbody"), "A")
	f.Add([]byte("Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B%b%8\x1b(Bxyz"), "モジxyz")
	var m Matcher
	f.Fuzz(func(t *testing.T, msg []byte, needle string) { checkMatch(t, &m, msg, needle) })
}
