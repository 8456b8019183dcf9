package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// mail is a message with CRLF line breaks from readable lines.
func mail(lines ...string) []byte {
	return []byte(strings.Join(lines, "\r\n"))
}

// slowReader gives whole reads but counts them, and fails at an offset.
type slowReader struct {
	data   []byte
	failAt int64
}

var errDisk = errors.New("disk on fire")

func (r slowReader) ReadAt(b []byte, off int64) (int, error) {
	if r.failAt > 0 && off+int64(len(b)) > r.failAt {
		return 0, errDisk
	}
	return bytes.NewReader(r.data).ReadAt(b, off)
}

// bigMessage needs several windows: long lines, delimiters everywhere.
func bigMessage() []byte {
	var b bytes.Buffer
	b.WriteString("Subject: " + strings.Repeat("x", 10000) + "\r\n")
	b.WriteString("To: " + strings.Repeat("someone@example.org,\r\n ", 20000) + "last@example.org\r\n")
	b.WriteString("Content-Type: multipart/mixed; boundary=\"" + strings.Repeat("b", 900) + "\"\r\n\r\n")
	for i := range 50 {
		b.WriteString("--" + strings.Repeat("b", 900) + "\r\nContent-Type: text/plain\r\n\r\n")
		b.WriteString(strings.Repeat("line\r\n--not it\r\n", 50*i))
		b.WriteString("\r\n")
	}
	b.WriteString("--" + strings.Repeat("b", 900) + "--")
	return b.Bytes()
}

// TestScanThroughWindow checks that a message gives the same digest through a
// window as in memory, wherever the window ends.
func TestScanThroughWindow(t *testing.T) {
	all := fixtures(t)
	all["big"] = bigMessage()
	for name, msg := range all {
		d, err := Scan(bytes.NewReader(msg), int64(len(msg)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := ScanBytes(msg); !reflect.DeepEqual(d, want) {
			t.Errorf("%s: the digest through a window differs", name)
		}
	}
	big := all["big"]
	for cut := range 20 {
		msg := append([]byte("X: "+strings.Repeat("y", cut*7)+"\r\n"), big...)
		d, err := Scan(bytes.NewReader(msg), int64(len(msg)))
		if err != nil || !reflect.DeepEqual(d, ScanBytes(msg)) {
			t.Errorf("shifted by %d: the digest differs (%v)", cut*7, err)
		}
	}
}

func TestScanReadErrors(t *testing.T) {
	msg := bigMessage()
	if _, err := Scan(slowReader{msg, 300 << 10}, int64(len(msg))); !errors.Is(err, errDisk) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if _, err := Scan(bytes.NewReader(msg), int64(len(msg))+1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a message shorter than said: got %v", err)
	}
}

func TestSection(t *testing.T) {
	msg := fixture(t, "nested-message")
	d := ScanBytes(msg)
	tests := []struct {
		path  []int
		spec  imap.SectionKind
		first string // "" if there is no such section
		last  string
	}{
		{nil, imap.SectionAll, "Date: Thu, 5 Nov 2026 09", "--outer--\r\n"},
		{nil, imap.SectionHeader, "Date: Thu, 5 Nov 2026 09", "boundary=outer\r\n\r\n"},
		{nil, imap.SectionText, "--outer", "--outer--\r\n"},
		{nil, imap.SectionMIME, "", ""},
		{[]int{1}, imap.SectionAll, "See below.", "below.\r\n"},
		{[]int{1}, imap.SectionMIME, "\r\n", "\r\n"},
		{[]int{1}, imap.SectionHeader, "", ""},
		{[]int{1}, imap.SectionText, "", ""},
		{[]int{1, 1}, imap.SectionAll, "", ""},
		{[]int{0}, imap.SectionAll, "", ""},
		{[]int{-1}, imap.SectionAll, "", ""},
		{[]int{3}, imap.SectionAll, "", ""},
		{[]int{2}, imap.SectionAll, "Date: Thu, 5 Nov 2026 08", "--inner--\r\n"},
		{[]int{2}, imap.SectionMIME, "Content-Type: message/rfc822", "letter.eml\"\r\n\r\n"},
		{[]int{2}, imap.SectionHeader, "Date: Thu, 5 Nov 2026 08", "boundary=inner\r\n\r\n"},
		{[]int{2}, imap.SectionText, "--inner", "--inner--\r\n"},
		{[]int{2, 1}, imap.SectionAll, "The inner text.", "text."},
		{[]int{2, 1, 1}, imap.SectionAll, "", ""},
		{[]int{2, 2}, imap.SectionHeader, "From: eve", "+0000\r\n\r\n"},
		{[]int{2, 2}, imap.SectionText, "The innermost text.", "text.\r\n"},
		{[]int{2, 2, 1}, imap.SectionAll, "The innermost text.", "text.\r\n"},
		{[]int{2, 2, 1}, imap.SectionMIME, "From: eve", "+0000\r\n\r\n"},
		{[]int{2, 2, 1}, imap.SectionHeader, "", ""},
		{[]int{2, 2, 1, 1}, imap.SectionAll, "", ""},
		{[]int{2, 2, 2}, imap.SectionAll, "", ""},
	}
	for _, tt := range tests {
		off, n, ok := d.Section(tt.path, tt.spec)
		if ok != (tt.first != "") {
			t.Errorf("%v %d: ok is %v", tt.path, tt.spec, ok)
			continue
		}
		got := string(msg[off : off+n])
		if !strings.HasPrefix(got, tt.first) || !strings.HasSuffix(got, tt.last) {
			t.Errorf("%v %d: got %q", tt.path, tt.spec, got)
		}
	}
}

// TestLimits checks that what is too much ends as one opaque part, and that
// nothing of the message is lost.
func TestLimits(t *testing.T) {
	deep := "Subject: deep\r\n"
	for i := range MaxDepth + 50 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d-\r\n\r\n--b%d-\r\n", i, i)
	}
	messages := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", MaxDepth+50)
	flat := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", MaxParts+50)
	empties := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
		strings.Repeat("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nx\r\n", MaxParts)
	wide := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
		strings.Repeat("--b\r\nContent-Description: "+strings.Repeat("x", 10000)+"\r\n\r\nx\r\n", 500)
	for name, msg := range map[string]string{
		"deep": deep, "messages": messages, "flat": flat, "empties": empties, "wide": wide,
	} {
		t.Run(name, func(t *testing.T) {
			d := ScanBytes([]byte(msg))
			checkDigest(t, d, []byte(msg))
			last := d.Parts[len(d.Parts)-1]
			if string(last.Type) != "application/octet-stream" {
				t.Errorf("the last part is %s", last.Type)
			}
			if end := last.BodyOff() + last.BodyLen; end != d.Size {
				t.Errorf("the last part ends at %d of %d", end, d.Size)
			}
			if len(d.BodyStructure) > 3*maxDigestBytes {
				t.Errorf("BODYSTRUCTURE has %d bytes", len(d.BodyStructure))
			}
		})
	}
}

// TestHugeHeader checks that a header of many megabytes does not make the
// envelope grow without end.
func TestHugeHeader(t *testing.T) {
	msg := "From: a@example.org\r\nTo: " + strings.Repeat("user@example.org,\r\n ", 200000) +
		"last@example.org\r\nTo: one@example.net\r\nCc: " + strings.Repeat("a,", 100000) +
		"\r\nSubject: " + strings.Repeat("long ", 500000) + "\r\n\r\nbody\r\n"
	d := ScanBytes([]byte(msg))
	checkDigest(t, d, []byte(msg))
	if n := len(d.Envelope); n > maxFieldBytes+2*maxAddressBytes*3 {
		t.Errorf("the envelope has %d bytes", n)
	}
	if n := bytes.Count(d.Envelope, []byte(`"a" "MISSING_DOMAIN"`)); n != MaxAddresses {
		t.Errorf("%d addresses of Cc are left", n)
	}
	if !bytes.Contains(d.Envelope, []byte(`"user" "example.org"))`)) {
		t.Error("To does not end with a whole address")
	}
	if _, n, _ := d.Section([]int{1}, imap.SectionAll); n != 6 {
		t.Errorf("the body has %d bytes", n)
	}
	msg = strings.Repeat("To: "+strings.Repeat("[", maxAddressBytes-100)+"\r\n", 50)
	if n := len(ScanBytes([]byte(msg)).Envelope); n > 4*maxAddressBytes {
		t.Errorf("many fields of one name give an envelope of %d bytes", n)
	}
}

func TestBoundary(t *testing.T) {
	tests := []struct {
		name   string
		lines  []string
		bodies []string // of the leaves
	}{
		{"the inner one is the outer one again", []string{
			"Content-Type: multipart/mixed; boundary=x", "",
			"--x", "Content-Type: multipart/mixed; boundary=x", "",
			"--x", "", "inner", "--x--", "--x", "", "outer", "--x--",
		}, []string{"inner", "outer"}},
		{"an outer delimiter ends all inner parts", []string{
			"Content-Type: multipart/mixed; boundary=o", "",
			"--o", "Content-Type: multipart/mixed; boundary=i", "",
			"--i", "Content-Type: message/rfc822", "",
			"Subject: x", "", "text", "--o", "", "next",
		}, []string{"text", "next"}},
		{"nothing follows the last delimiter", []string{
			"Content-Type: multipart/mixed; boundary=x", "",
			"preamble", "--x", "", "one", "--x--", "--x", "", "two", "--x--",
		}, []string{"one"}},
		{"a quoted boundary with odd characters", []string{
			`Content-Type: multipart/mixed; boundary="a b'()+_,-./:=?"`, "",
			"--a b'()+_,-./:=?", "", "one", "--a b'()+_,-./:=?--",
		}, []string{"one"}},
		{"a delimiter ends a header", []string{
			"Content-Type: multipart/mixed; boundary=x", "",
			"--x", "Content-Type: text/html", "--x", "", "two",
		}, []string{"", "two"}},
		{"a boundary of spaces is none", []string{
			`Content-Type: multipart/mixed; boundary="  "`, "", "--", "text",
		}, []string{"--\r\ntext"}},
	}
	for _, tt := range tests {
		msg := mail(tt.lines...)
		d := ScanBytes(msg)
		checkDigest(t, d, msg)
		var got []string
		for i := range d.Parts {
			if p := &d.Parts[i]; p.Kind == KindLeaf {
				got = append(got, string(msg[p.BodyOff():p.BodyOff()+p.BodyLen]))
			}
		}
		if !reflect.DeepEqual(got, tt.bodies) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.bodies)
		}
	}
}
