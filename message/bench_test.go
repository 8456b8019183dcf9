package message

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// largeMail is a message of about 1 MB: text, and an attachment in base64.
func largeMail() []byte {
	var b bytes.Buffer
	b.WriteString("From: a@example.org\r\nTo: b@example.org\r\nSubject: large\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_mixed\"\r\n\r\n" +
		"--=_mixed\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	b.WriteString(strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 1000))
	b.WriteString("\r\n--=_mixed\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("\x00\x83\x9f"), 19)) + "\r\n"
	b.WriteString(strings.Repeat(line, 1<<20/len(line)))
	b.WriteString("\r\n--=_mixed--\r\n")
	return b.Bytes()
}

// smallMail is a message of about 3 kB as most are.
func smallMail(b *testing.B) []byte {
	received := "Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n\tby mail.example.net with ESMTPS id 4Xk9;\r\n\tMon, 2 Nov 2026 09:15:04 +0100\r\n"
	return append([]byte(strings.Repeat(received, 8)), fixture(b, "alternative-attachments")...)
}

func BenchmarkScanLarge(b *testing.B) {
	msg := largeMail()
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		ScanBytes(msg)
	}
}

func BenchmarkScanLargeThroughWindow(b *testing.B) {
	msg := largeMail()
	r := bytes.NewReader(msg)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(r, r.Size()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScanSmall(b *testing.B) {
	msg := smallMail(b)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		ScanBytes(msg)
	}
}

func BenchmarkScanPlain(b *testing.B) {
	msg := fixture(b, "plain")
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		ScanBytes(msg)
	}
}

// BenchmarkScanDashes is the worst case for finding delimiters: every line
// could be one of many.
func BenchmarkScanDashes(b *testing.B) {
	var msg []byte
	prefix := strings.Repeat("x", 60)
	for i := range MaxDepth {
		bound := prefix + string(rune('a'+i%26)) + string(rune('a'+i/26))
		msg = append(msg, "Content-Type: multipart/mixed; boundary="+bound+"\r\n\r\n--"+bound+"\r\n"...)
	}
	msg = append(msg, strings.Repeat("\n--"+prefix+"-", 1<<20/64)...)
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		ScanBytes(msg)
	}
}

func BenchmarkDigestDecode(b *testing.B) {
	encoded := ScanBytes(smallMail(b)).Append(nil)
	var d Digest
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkText(b *testing.B, msg []byte) {
	d, n := ScanBytes(msg), NewNeedle("not in there")
	r := bytes.NewReader(msg)
	var m Matcher
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if found, err := m.Text(r, d, n); found || err != nil {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkMatchTextSmall(b *testing.B) { benchmarkText(b, smallMail(b)) }

func BenchmarkMatchTextASCII(b *testing.B) {
	line := "The quick brown fox jumps over the lazy dog.\r\n"
	benchmarkText(b, []byte("Subject: x\r\n\r\n"+strings.Repeat(line, 1<<20/len(line))))
}

func BenchmarkMatchTextCyrillic(b *testing.B) {
	line := "Съешь же ещё этих мягких французских булок, да выпей чаю.\r\n"
	benchmarkText(b, []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n"+strings.Repeat(line, 1<<20/len(line))))
}

func BenchmarkMatchTextBase64(b *testing.B) {
	line := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("Hello there! ", 4))) + "\r\n"
	benchmarkText(b, []byte("Content-Transfer-Encoding: base64\r\n\r\n"+strings.Repeat(line, 1<<20/len(line))))
}

func BenchmarkMatchHeader(b *testing.B) {
	msg := smallMail(b)
	header, n := msg[:ScanBytes(msg).Parts[0].HeaderLen], NewNeedle("nobody")
	var m Matcher
	b.ReportAllocs()
	for b.Loop() {
		m.Header(header, "From", n)
	}
}
