package message

import (
	"bytes"
	"errors"
	"io"
)

const (
	// chunkSize is how much of a message is read and decoded at a time.
	chunkSize = 32 << 10
	// maxSearchedHeader is how much of one header is searched.
	maxSearchedHeader = 1 << 20
)

// Matcher searches messages. The zero value is ready; it keeps its buffers, so
// use one for many messages. It is for one goroutine at a time.
type Matcher struct {
	raw     []byte // as read
	scratch []byte
	decoded []byte // without transfer encoding
	text    []byte // UTF-8
	window  []byte // folded text, as far as a match can reach back

	transfer transferDecoder
	charset  charsetDecoder
	words    wordDecoder
	folder   folder
}

// Header says whether a field of that name in a raw header contains the
// needle, with encoded words decoded. With an empty needle the field need
// only be there. SEARCH HEADER, SUBJECT, FROM …: RFC 9051 section 6.4.4.
func (m *Matcher) Header(header []byte, field string, n *Needle) bool {
	for len(header) > 0 && !isEmptyLine(header) {
		raw := header[:fieldLen(header)]
		header = header[len(raw):]
		if value, is := valueOf(raw, field); is && (n.Empty() || m.value(value, n)) {
			return true
		}
	}
	return false
}

// valueOf is the value of a raw field, if that is its name.
func valueOf(raw []byte, name string) (value []byte, is bool) {
	if len(name) == 0 || len(raw) <= len(name) || !equalFold(raw[:len(name)], name) {
		return nil, false
	}
	found, value := splitField(raw)
	return trimBreak(value), equalFold(found, name)
}

// value searches one value on its own.
func (m *Matcher) value(value []byte, n *Needle) bool {
	if isPlain(value) {
		return n.ascii && n.find.in(trimSpace(value), &m.scratch)
	}
	if m.lacks(value, n) {
		return false
	}
	m.text = m.words.append(m.text[:0], value)
	m.window = m.window[:0]
	return m.feed(m.text, n)
}

// isPlain is true of a value that is its own text, but for the spaces around it.
func isPlain(value []byte) bool {
	for i, c := range value {
		if c >= 0x80 || c == 0 || c == '\r' || c == '\n' || c == '?' && i > 0 && value[i-1] == '=' {
			return false
		}
	}
	return true
}

// Body says whether the body of the message contains the needle: its text
// parts, and the headers of messages inside it. Of parts that are no text,
// nothing is searched. A match does not reach from one part or field into the
// next. SEARCH BODY.
func (m *Matcher) Body(r io.ReaderAt, d *Digest, n *Needle) (bool, error) {
	return m.parts(r, d, n, func(i int32) bool { return i > 0 && d.isMessage(i) })
}

// Text is Body, and the headers of the message and of all its parts as well.
// SEARCH TEXT. Of one header the first megabyte is searched.
func (m *Matcher) Text(r io.ReaderAt, d *Digest, n *Needle) (bool, error) {
	return m.parts(r, d, n, func(int32) bool { return true })
}

func (m *Matcher) parts(r io.ReaderAt, d *Digest, n *Needle, withHeader func(int32) bool) (bool, error) {
	if n.Empty() {
		return true, nil
	}
	for i := range d.Parts {
		p := &d.Parts[i]
		if withHeader(int32(i)) {
			if found, err := m.header(r, p, n); found || err != nil {
				return found, err
			}
		}
		if p.Kind == KindLeaf && p.IsText() {
			if found, err := m.part(r, p, n); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// header searches the fields of a header, each as "Name: value".
func (m *Matcher) header(r io.ReaderAt, p *Part, n *Needle) (bool, error) {
	raw, err := m.read(r, p.HeaderOff, min(p.HeaderLen, maxSearchedHeader))
	if err != nil || m.lacks(raw, n) {
		return false, err
	}
	for f := range Fields(raw) {
		if m.lacks(f.Raw, n) {
			continue
		}
		m.text, _ = appendUTF8(m.text[:0], f.Name, true)
		m.text = append(m.text, ": "...)
		m.text = m.words.append(m.text, f.Value)
		m.window = m.window[:0]
		if m.feed(m.text, n) {
			return true, nil
		}
	}
	return false, nil
}

// lacks says that no field of a raw header, or of a piece of one, contains the
// needle. It says so only if the text stands there as it was sent.
func (m *Matcher) lacks(raw []byte, n *Needle) bool {
	if asciiLen(raw) < len(raw) || bytes.Contains(raw, wordStart) || bytes.IndexByte(raw, 0) >= 0 {
		return false
	}
	return !n.ascii || !n.run.in(raw, &m.scratch)
}

var wordStart = []byte("=?")

// part searches the decoded text of a part.
func (m *Matcher) part(r io.ReaderAt, p *Part, n *Needle) (found bool, err error) {
	m.window = m.window[:0]
	err = m.decode(r, p, func(text []byte) bool {
		found = m.feed(text, n)
		return !found
	})
	return found, err
}

// decode yields the body of a part as UTF-8, in pieces.
func (m *Matcher) decode(r io.ReaderAt, p *Part, yield func([]byte) bool) error {
	m.transfer = transferDecoder{encoding: p.Encoding}
	m.charset.reset(p.Charset)
	off, end := p.BodyOff(), p.BodyOff()+p.BodyLen
	chunk := int64(chunkSize)
	if _, whole := r.(Memory); whole {
		chunk = end - off
	}
	for off < end {
		n := min(chunk, end-off)
		decoded, err := m.read(r, off, n)
		if err != nil {
			return err
		}
		off += n
		if p.Encoding != EncodingIdentity {
			m.decoded = m.transfer.decode(m.decoded[:0], decoded, off == end)
			decoded = m.decoded
		}
		text := decoded
		if !m.charset.plain(decoded) {
			m.text = m.charset.decode(m.text[:0], decoded, off == end)
			text = m.text
		}
		if !yield(text) {
			return nil
		}
	}
	return nil
}

// Memory is a message in memory.
type Memory []byte

// ReadAt implements io.ReaderAt.
func (m Memory) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(b, m[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// read is n bytes at off. They are not to be changed, and valid until the next
// call.
func (m *Matcher) read(r io.ReaderAt, off, n int64) ([]byte, error) {
	if mem, whole := r.(Memory); whole {
		if off < 0 || n < 0 || off+n > int64(len(mem)) {
			return nil, io.ErrUnexpectedEOF
		}
		return mem[off : off+n], nil
	}
	m.raw = grow(m.raw[:0], int(n))[:n]
	return m.raw, readFull(r, m.raw, off)
}

// feed searches the next piece of text together with the end of what came before.
func (m *Matcher) feed(text []byte, n *Needle) bool {
	if asciiLen(text) == len(text) {
		return m.feedASCII(text, n)
	}
	m.window = m.folder.append(m.window, text)
	if bytes.Contains(m.window, n.folded) {
		return true
	}
	m.keep(n)
	return false
}

// feedASCII is feed without a copy of all of text.
func (m *Matcher) feedASCII(text []byte, n *Needle) bool {
	if n.ascii && n.find.in(text, &m.scratch) {
		return true
	}
	seam := len(n.folded) - 1
	if len(m.window) > 0 {
		m.window = appendUpper(m.window, text[:min(seam, len(text))])
		if bytes.Contains(m.window, n.folded) {
			return true
		}
	} else {
		m.window = appendUpper(m.window, text[max(len(text)-seam, 0):])
		return false
	}
	if len(text) > seam {
		m.window = appendUpper(m.window[:0], text[len(text)-seam:])
	}
	m.keep(n)
	return false
}

// keep leaves of the window what a match may begin in.
func (m *Matcher) keep(n *Needle) {
	keep := min(len(n.folded)-1, len(m.window))
	m.window = append(m.window[:0], m.window[len(m.window)-keep:]...)
}

// AppendText appends the body of a part as UTF-8 text, without its transfer
// encoding, up to about limit bytes of it.
func (m *Matcher) AppendText(dst []byte, r io.ReaderAt, p *Part, limit int) ([]byte, error) {
	from := len(dst)
	err := m.decode(r, p, func(text []byte) bool {
		dst = append(dst, text...)
		return len(dst)-from < limit
	})
	return dst, err
}

// readFull reads len(b) bytes at off.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}
