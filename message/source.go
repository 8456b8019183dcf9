package message

import (
	"bytes"
	"io"
)

const (
	windowSize = 128 << 10
	// minFragment is how much of a long line is seen at once, at least. It
	// covers every delimiter and field name.
	minFragment = 4 << 10
	// lookBehind keeps the line break before a delimiter in the window.
	lookBehind = 2
)

// source is the message as the scanner sees it: a window that only moves
// forward. For a message in memory the window is the message.
type source struct {
	r     io.ReaderAt
	buf   []byte // backs win when r is used
	win   []byte // the bytes from base on
	base  int64
	pos   int // in win
	size  int64
	lines int64 // line breaks before pos
	err   error
}

func newSource(r io.ReaderAt, size int64) *source {
	size = max(size, 0)
	return &source{r: r, size: size, buf: make([]byte, min(size, windowSize))}
}

func (s *source) offset() int64 { return s.base + int64(s.pos) }

func (s *source) rest() []byte { return s.win[s.pos:] }

// fill moves the window on. False means that nothing more can be read.
func (s *source) fill() bool {
	end := s.base + int64(len(s.win))
	if end >= s.size {
		return false
	}
	from := max(s.pos-lookBehind, 0)
	n := copy(s.buf, s.win[from:])
	s.base += int64(from)
	s.pos -= from
	want := min(int64(len(s.buf)-n), s.size-end)
	got, err := s.r.ReadAt(s.buf[n:n+int(want)], end)
	s.win = s.buf[:n+got]
	if int64(got) < want {
		s.fail(err)
	}
	return got > 0
}

// fail ends the message where reading ended, so that every loop ends too.
func (s *source) fail(err error) {
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	s.err = err
	s.size = s.base + int64(len(s.win))
}

// peek shows the next n bytes, fewer only at the end. n is at most minFragment.
func (s *source) peek(n int) []byte {
	for len(s.rest()) < n && s.fill() {
	}
	rest := s.rest()
	return rest[:min(n, len(rest))]
}

// line shows the next line with its line break. Of a long one it shows a
// fragment, of minFragment bytes at least unless the message ends.
func (s *source) line() []byte {
	for {
		rest := s.rest()
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			return rest[:i+1]
		}
		if len(rest) >= minFragment || !s.fill() {
			return rest
		}
	}
}

func (s *source) advance(n int) {
	s.lines += int64(bytes.Count(s.win[s.pos:s.pos+n], lineBreak))
	s.pos += n
}

// skipLine goes to the start of the next line.
func (s *source) skipLine() {
	for {
		line := s.line()
		s.advance(len(line))
		if len(line) == 0 || line[len(line)-1] == '\n' {
			return
		}
	}
}

// skipToDashes goes to the next line that starts with two dashes, or to the
// end. Lines are not looked at one by one: this is the loop that decides how
// fast large bodies are scanned.
func (s *source) skipToDashes() bool {
	for {
		rest := s.rest()
		if i := bytes.Index(rest, lineWithDashes); i >= 0 {
			s.advance(i + 1)
			return true
		}
		keep := min(len(lineWithDashes)-1, len(rest))
		s.advance(len(rest) - keep)
		if !s.fill() {
			s.advance(keep)
			return false
		}
	}
}

func (s *source) skipAll() {
	for {
		s.advance(len(s.rest()))
		if !s.fill() {
			return
		}
	}
}

// breakBefore is the length of the line break that ends at the current place.
func (s *source) breakBefore() int {
	switch before := s.win[:s.pos]; {
	case bytes.HasSuffix(before, crlf):
		return 2
	case bytes.HasSuffix(before, lineBreak):
		return 1
	}
	return 0
}

// Read only; slices because that is what package bytes takes.
var (
	crlf           = []byte("\r\n")
	lineBreak      = []byte("\n")
	lineWithDashes = []byte("\n--")
)
