package message

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// checkDigest checks what holds for the digest of any message.
func checkDigest(t *testing.T, d *Digest, msg []byte) {
	t.Helper()
	checkTree(t, d, msg)
	for _, wire := range [][]byte{d.Envelope, d.BodyStructure, d.AppendBody(nil)} {
		if err := checkWire(wire); err != nil {
			t.Fatalf("%v in %q", err, wire)
		}
	}
	if err := checkBody(d.BodyStructure, true); err != nil {
		t.Fatalf("%v in %q", err, d.BodyStructure)
	}
	if err := checkBody(d.AppendBody(nil), false); err != nil {
		t.Fatalf("%v in %q", err, d.AppendBody(nil))
	}
	decoded, err := decodeDigest(d.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !sameDigest(decoded, d) {
		t.Fatal("the digest changes when it is encoded and decoded")
	}
}

// checkTree checks that parts lie within their parents, in order, and that
// their line counts are true.
func checkTree(t *testing.T, d *Digest, msg []byte) {
	t.Helper()
	if d.Size != int64(len(msg)) || len(d.Parts) == 0 || len(d.Parts) > MaxParts {
		t.Fatalf("size %d of %d, %d parts", d.Size, len(msg), len(d.Parts))
	}
	for i := range d.Parts {
		p := &d.Parts[i]
		from, to := int64(0), d.Size
		if i > 0 {
			parent := &d.Parts[p.Parent]
			from, to = parent.BodyOff(), parent.BodyOff()+parent.BodyLen
		}
		if p.HeaderOff < from || p.HeaderLen < 0 || p.BodyLen < 0 || p.BodyOff()+p.BodyLen > to {
			t.Fatalf("part %d is %+v, not within %d–%d", i, p, from, to)
		}
		if before := i - 1; i > 0 && d.Parts[before].End == int32(i) {
			if q := &d.Parts[before]; q.BodyOff()+q.BodyLen > p.HeaderOff {
				t.Fatalf("part %d begins before part %d ends", i, before)
			}
		}
		body := msg[p.BodyOff() : p.BodyOff()+p.BodyLen]
		if lines := int64(bytes.Count(body, lineBreak)); p.Lines != lines {
			t.Fatalf("part %d has %d lines, not %d", i, lines, p.Lines)
		}
	}
}

var errWire = errors.New("not well-formed")

// checkWire checks that b is one item of IMAP data: no bare line breaks, no
// 8-bit bytes outside of literals, and lists that close.
func checkWire(b []byte) error {
	rest, err := wireItem(b)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errors.New("more than one item")
	}
	return nil
}

func wireItem(b []byte) ([]byte, error) {
	switch {
	case len(b) == 0:
		return nil, errWire
	case b[0] == '(':
		return wireList(b[1:])
	case b[0] == '"':
		for i := 1; i < len(b); i++ {
			switch c := b[i]; {
			case c == '\\':
				if i++; i == len(b) || b[i] != '\\' && b[i] != '"' {
					return nil, errWire
				}
			case c == '"':
				return b[i+1:], nil
			case c == 0 || c >= 0x80 || c == '\r' || c == '\n':
				return nil, errWire
			}
		}
		return nil, errWire
	case b[0] == '{':
		head, rest, ok := strings.Cut(string(b[1:]), "}\r\n")
		n, err := strconv.Atoi(head)
		if !ok || err != nil || n > len(rest) || strings.IndexByte(rest[:n], 0) >= 0 {
			return nil, errWire
		}
		return []byte(rest[n:]), nil
	}
	n := 0
	for n < len(b) && (b[n]-'0' < 10 || b[n]-'A' < 26) {
		n++
	}
	if atom := string(b[:n]); atom != "NIL" {
		if _, err := strconv.ParseUint(atom, 10, 63); err != nil {
			return nil, errWire
		}
	}
	return b[n:], nil
}

// wireList reads a list behind its parenthesis. Lists may follow each other
// without a space.
func wireList(b []byte) ([]byte, error) {
	for first := true; ; first = false {
		if len(b) > 0 && b[0] == ')' && !first {
			return b[1:], nil
		}
		if !first && len(b) > 0 && b[0] != '(' {
			if b[0] != ' ' {
				return nil, errWire
			}
			b = b[1:]
		}
		var err error
		if b, err = wireItem(b); err != nil {
			return nil, err
		}
	}
}

// items cuts a list into its items.
func items(b []byte) [][]byte {
	var all [][]byte
	b = b[1 : len(b)-1]
	for len(b) > 0 {
		rest, err := wireItem(b)
		if err != nil {
			return nil
		}
		all = append(all, b[:len(b)-len(rest)])
		b = bytes.TrimPrefix(rest, []byte(" "))
	}
	return all
}

// checkBody checks the number of items of each part, as RFC 9051's
// body-type-1part and body-type-mpart have them.
func checkBody(b []byte, extended bool) error {
	all := items(b)
	want, n := 7, 0
	for n < len(all) && all[n][0] == '(' {
		if err := checkBody(all[n], extended); err != nil {
			return err
		}
		n++
	}
	switch kind := strings.ToLower(string(all[0]) + string(all[min(1, len(all)-1)])); {
	case n > 0:
		want = n + 1
	case strings.HasPrefix(kind, `"text"`):
		want = 8
	case kind == `"message""rfc822"`, kind == `"message""global"`:
		want = 10
		if err := checkBody(all[8], extended); err != nil {
			return err
		}
		if envelope := items(all[7]); len(envelope) != 10 {
			return errors.New("an envelope without ten items")
		}
	}
	if extended {
		want += 4
	}
	if len(all) != want {
		return errors.New("a part with the wrong number of items")
	}
	return nil
}

// scanThroughSmallWindow scans with the smallest window that can work.
func scanThroughSmallWindow(msg []byte) *Digest {
	src := newSource(bytes.NewReader(msg), int64(len(msg)))
	src.buf = make([]byte, minFragment+lookBehind+1)
	return newScanner(src).run()
}

func FuzzScan(f *testing.F) {
	for _, msg := range fixtures(f) {
		f.Add(msg, uint16(len(msg)))
	}
	f.Add(bytes.Repeat([]byte("Content-Type: multipart/x; boundary=b\n\n--b\n"), 5), uint16(9))
	f.Fuzz(func(t *testing.T, msg []byte, before uint16) {
		d := ScanBytes(msg)
		checkDigest(t, d, msg)
		for _, s := range sections(d) {
			if i, ok := d.Find(s.path); !ok || i != s.index {
				t.Fatalf("section %s finds part %d, %v, want %d", s.name, i, ok, s.index)
			}
		}
		header := msg[:d.Parts[0].HeaderLen]
		filtered := FilterFields(nil, header, []string{"Subject", "To"}, false)
		if !bytes.HasSuffix(filtered, crlf) || len(filtered) > len(header)+4 {
			t.Fatalf("filtered header %q", filtered)
		}
		moved := append([]byte("X: "+strings.Repeat("y", int(before))+"\n"), msg...)
		if !reflect.DeepEqual(scanThroughSmallWindow(moved), ScanBytes(moved)) {
			t.Fatal("the digest through a window differs")
		}
	})
}

func FuzzDecodeDigest(f *testing.F) {
	for _, msg := range fixtures(f) {
		f.Add(ScanBytes(msg).Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDigest(b)
		if err != nil {
			return
		}
		d.AppendBody(nil)
		var k Keys
		if d.Keys(&k) && !bytes.Equal(k.append(nil), d.EncodedKeys) {
			t.Fatal("keys change when they are decoded and encoded")
		}
		for i := range d.Parts {
			p := &d.Parts[i]
			if p.HeaderOff < 0 || p.BodyOff()+p.BodyLen > d.Size {
				t.Fatalf("part %d is %+v of %d", i, p, d.Size)
			}
		}
		for _, path := range [][]int{nil, {1}, {2}, {1, 1}, {2, 1}, {1, 1, 1}} {
			for spec := imap.SectionAll; spec <= imap.SectionMIME+1; spec++ {
				d.Section(path, spec)
			}
		}
		again, err := decodeDigest(d.Append(nil))
		if err != nil || !sameDigest(again, d) {
			t.Fatalf("the digest changes when it is encoded and decoded: %v", err)
		}
	})
}
