package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPreview(t *testing.T) {
	crlf := strings.NewReplacer("\n", "\r\n")
	for _, row := range []struct{ name, message, want string }{
		{"plain", "Subject: x\n\nHello\n  there,\tyou.\n", "Hello there, you."},
		{"empty", "Subject: x\n\n", ""},
		{"no text", "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n", ""},
		{"charset", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n", "Grüße"},
		{"quoted lines", "\n\n> what they said\nWhat I say\n> more\n", "What I say"},
		{"nothing but quotes", "\n\n> what they said\n", "> what they said"},
		{"html", "Content-Type: text/html\n\n<html><head><title>no</title><STYLE>p{}</STYLE></head><body><!-- <p>no --><p>One</p><p>t<b>w</b>o &amp; th&#114;ee &lt;x&gt; 1 < 2 &unknown; A&B</body>", "One two & three <x> 1 < 2 &unknown; A&B"},
		{"html without end", "Content-Type: text/html\n\nshown<style>never", "shown"},
		{"html padding", "Content-Type: text/html\n\n\n&#8203;&zwnj;&nbsp;&#847;&shy;Sale", "Sale"},
		{
			"alternative", "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html</p>\n--b\nContent-Type: text/plain\n\nplain\n--b--\n",
			"plain",
		},
		{
			"alternative whose plain text is empty", "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n \n--b\nContent-Type: text/html\n\n<p>html</p>\n--b--\n",
			"html",
		},
		{
			"in order", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html</p>\n--b\nContent-Type: text/plain\n\nattached\n--b--\n",
			"html",
		},
		{
			"forwarded", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: y\n\ninner\n--b\n\nouter\n--b--\n",
			"outer",
		},
	} {
		raw := crlf.Replace(row.message)
		var m Matcher
		got, err := m.Preview(strings.NewReader(raw), ScanBytes([]byte(raw)), 200)
		if err != nil || got != row.want {
			t.Errorf("%s: %q, %v, want %q", row.name, got, err, row.want)
		}
	}
	long := "\r\n\r\n" + strings.Repeat("wörter ", 1<<16)
	var m Matcher
	got, err := m.Preview(strings.NewReader(long), ScanBytes([]byte(long)), 20)
	if err != nil || got != "wörter wörter wörter" {
		t.Errorf("limited: %q, %v", got, err)
	}
}

func FuzzPreview(f *testing.F) {
	f.Add([]byte("Content-Type: text/html\r\n\r\n<p>a &amp; b<style>c</style><!-- d"))
	f.Add([]byte("Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: text/html\r\n\r\n<\r\n--b--"))
	f.Add([]byte("\r\n\r\n> \xff\x00&#x41;&#99999999999;"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m Matcher
		got, err := m.Preview(bytes.NewReader(raw), ScanBytes(raw), 50)
		if err != nil || !utf8.ValidString(got) || utf8.RuneCountInString(got) > 50 || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func TestContent(t *testing.T) {
	raw := strings.ReplaceAll("Content-Type: multipart/mixed; boundary=b\n\n"+
		"--b\nContent-Transfer-Encoding: base64\n\nYQBi\nYw==\n"+
		"--b\nContent-Transfer-Encoding: Quoted-Printable\n\nb=C3=\n=A4r\n"+
		"--b\nContent-Transfer-Encoding: x-uuencode\n\nbegin\n"+
		"--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nSubject: y\n\ninner\n"+
		"--b--\n", "\n", "\r\n")
	d, r := ScanBytes([]byte(raw)), strings.NewReader(raw)
	for _, row := range []struct {
		path        []int
		from, count int64
		want        string
	}{
		{nil, 0, 7, "Content"},
		{[]int{1}, 0, 100, "a\x00bc"},
		{[]int{1}, 1, 2, "\x00b"},
		{[]int{1}, 3, 2, "c"},
		{[]int{1}, 9, 2, ""},
		{[]int{2}, 0, 100, "bär"},
		{[]int{4}, 0, 100, "Subject: y\r\n\r\ninner"},
		{[]int{4, 1}, 2, 2, "ne"},
	} {
		c, ok := d.Content(row.path)
		n, body, err := c.Range(r, row.from, row.count)
		if !ok || err != nil {
			t.Fatalf("%v: %v, %v", row.path, ok, err)
		}
		got, err := io.ReadAll(body)
		if err != nil || string(got) != row.want || n != int64(len(row.want)) {
			t.Errorf("%v<%d.%d>: %q (%d), %v, want %q", row.path, row.from, row.count, got, n, err, row.want)
		}
	}
	c, _ := d.Content([]int{3})
	if _, err := c.Size(r); !errors.Is(err, ErrUnknownEncoding) {
		t.Errorf("uuencode: %v", err)
	}
	if _, ok := d.Content([]int{5}); ok {
		t.Error("part 5 was found")
	}
}

// FuzzContent has what is told of a length come true.
func FuzzContent(f *testing.F) {
	f.Add([]byte("YWJj\r\nZA=="), uint8(1), uint16(1), uint16(2))
	f.Add([]byte("a=3D=\r\nb=4"), uint8(2), uint16(0), uint16(9))
	f.Fuzz(func(t *testing.T, raw []byte, encoding uint8, from, count uint16) {
		c := Content{length: int64(len(raw)), encoding: Encoding(encoding % uint8(EncodingUnknown))}
		whole, err := io.ReadAll(c.reader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		n, body, err := c.Range(bytes.NewReader(raw), int64(from), int64(count))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		start := min(int(from), len(whole))
		want := whole[start:min(start+int(count), len(whole))]
		if err != nil || int64(len(got)) != n || !bytes.Equal(got, want) {
			t.Fatalf("%q (told %d), %v, want %q", got, n, err, want)
		}
	})
}
