package message

import (
	"bytes"
	"html"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxPreviewText is how much text of a part is looked at for a preview.
	maxPreviewText = 64 << 10
	// maxPreviewParts is how many parts are looked at.
	maxPreviewParts = 4
	// maxEntity bounds a character reference of HTML.
	maxEntity = 32
)

// Preview is the beginning of what a person would read of the message, at most
// limit characters on one line (RFC 8970 section 3.1). It is "" if there is no
// text. Of a part no more than 64 kB are looked at.
func (m *Matcher) Preview(r io.ReaderAt, d *Digest, limit int) (string, error) {
	for _, i := range d.readable(nil, 0) {
		p := &d.Parts[i]
		text, err := m.AppendText(nil, r, p, maxPreviewText)
		if err != nil {
			return "", err
		}
		text = text[:min(len(text), maxPreviewText)]
		if string(p.Type) == "text/html" {
			text = plainText(text)
		}
		if s := firstWords(unquoted(text), limit); s != "" {
			return s, nil
		}
		if s := firstWords(text, limit); s != "" {
			return s, nil
		}
	}
	return "", nil
}

// readable appends the texts inside part i, those that say best what the message
// says first. Messages inside are none of it.
func (d *Digest) readable(found []int32, i int32) []int32 {
	p := &d.Parts[i]
	switch {
	case p.Kind == KindLeaf && p.IsText():
		return append(found, i)
	case p.Kind != KindMultipart:
		return found
	}
	from := len(found)
	for c := i + 1; c < p.End && len(found) < maxPreviewParts; c = d.Parts[c].End {
		found = d.readable(found, c)
	}
	if string(p.Type) == "multipart/alternative" {
		plainFirst(d, found[from:])
	}
	return found
}

func plainFirst(d *Digest, parts []int32) {
	for i, p := range parts {
		if string(d.Parts[p].Type) == "text/plain" {
			copy(parts[1:i+1], parts[:i])
			parts[0] = p
			return
		}
	}
}

// unquoted leaves out the lines of the message that is answered.
func unquoted(text []byte) []byte {
	out := text[:0:0]
	for line := range bytes.Lines(text) {
		if line[0] != '>' {
			out = append(out, line...)
		}
	}
	return out
}

// firstWords are the first characters of text that can be seen, with single
// spaces between words.
func firstWords(text []byte, limit int) string {
	var b strings.Builder
	space := false
	for n := 0; len(text) > 0; {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case unicode.IsSpace(r):
			space = true
		case !unicode.IsPrint(r) || invisible(r):
		default:
			gap := 0
			if space && n > 0 {
				gap = 1
			}
			if n += 1 + gap; n > limit {
				return b.String()
			}
			if gap > 0 {
				b.WriteByte(' ')
			}
			b.WriteRune(r)
			space = false
		}
	}
	return b.String()
}

// invisible characters pad the beginning of newsletters.
func invisible(r rune) bool {
	return r == 0x034f || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r == 0x3164
}

// plainText is what HTML says. What looks like no markup is text.
func plainText(page []byte) []byte {
	out := make([]byte, 0, len(page)/4)
	for len(page) > 0 {
		switch i := bytes.IndexAny(page, "<&"); {
		case i < 0:
			return append(out, page...)
		case page[i] == '&':
			out = append(out, page[:i]...)
			out, page = appendEntity(out, page[i:])
		default:
			out = append(out, page[:i]...)
			out, page = appendTag(out, page[i:])
		}
	}
	return out
}

// appendEntity takes a character reference, or the & as it is.
func appendEntity(out, page []byte) (_, rest []byte) {
	i := bytes.IndexByte(page[:min(len(page), maxEntity)], ';')
	if i < 0 {
		return append(out, '&'), page[1:]
	}
	return append(out, html.UnescapeString(string(page[:i+1]))...), page[i+1:]
}

// appendTag takes a tag, a comment, or an element whose text is not shown. A
// tag that is no part of a word parts words.
func appendTag(out, page []byte) (_, rest []byte) {
	if rest, is := bytes.CutPrefix(page, []byte("<!--")); is {
		return out, after(rest, "-->")
	}
	name := tagName(page[1:])
	if len(name) == 0 {
		return append(out, '<'), page[1:]
	}
	rest = after(page, ">")
	if isHidden(name) {
		rest = afterElement(rest, name)
	}
	if !isInline(name) {
		out = append(out, ' ')
	}
	return out, rest
}

// tagName is the name behind a <, with its slash; empty if that begins no tag.
func tagName(b []byte) []byte {
	n := 0
	for n < len(b) && (lower(b[n])-'a' < 26 || b[n]-'0' < 10 && n > 0 || n == 0 && (b[n] == '/' || b[n] == '!' || b[n] == '?')) {
		n++
	}
	return b[:n]
}

func isHidden(name []byte) bool {
	for _, hidden := range []string{"style", "script", "title", "template", "noscript"} {
		if equalFold(name, hidden) {
			return true
		}
	}
	return false
}

func isInline(name []byte) bool {
	name = bytes.TrimPrefix(name, []byte("/"))
	for _, inline := range []string{"a", "b", "i", "u", "s", "em", "strong", "span", "font", "small", "big", "sub", "sup", "code", "wbr", "abbr", "mark"} {
		if equalFold(name, inline) {
			return true
		}
	}
	return false
}

// after is what follows the end of something, nothing if that has none.
func after(b []byte, end string) []byte {
	_, rest, _ := bytes.Cut(b, []byte(end))
	return rest
}

// afterElement is what follows the end tag of an element.
func afterElement(b, name []byte) []byte {
	for {
		i := bytes.Index(b, []byte("</"))
		if i < 0 {
			return nil
		}
		b = b[i+2:]
		if len(b) >= len(name) && equalFold(b[:len(name)], string(name)) {
			return after(b, ">")
		}
	}
}
