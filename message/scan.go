package message

import (
	"bytes"
	"io"
)

// Scan reads the message of the given size once, from start to end, through a
// window of bounded size. Only an error of r is an error, io.ErrUnexpectedEOF
// if r holds less than size bytes.
func Scan(r io.ReaderAt, size int64) (*Digest, error) {
	s := newScanner(newSource(r, size))
	d := s.run()
	if s.src.err != nil {
		return nil, s.src.err
	}
	return d, nil
}

// ScanBytes is Scan of a message in memory. The digest does not alias msg.
func ScanBytes(msg []byte) *Digest {
	return newScanner(&source{win: msg, size: int64(len(msg))}).run()
}

// scanner builds a Digest. It never looks back: parts that are not closed yet
// are on a stack, and each delimiter closes some of them.
type scanner struct {
	src    *source
	fields headerFields
	params []param // scratch

	parts []Part
	wires []partWire // of the part of the same index
	wire  []byte     // what wires points into
	names []byte     // media types and charsets

	open     []openPart
	longest  int  // boundary in open
	full     bool // no more parts: the rest belongs to the last one
	envelope []byte
	date     Date
	keys     []byte
}

// openPart is a part whose end was not seen yet.
type openPart struct {
	index     int32
	lines     int64  // line breaks before its body
	boundary  []byte // of a multipart that has one
	closed    bool   // its last delimiter was seen
	ofDigests bool   // multipart/digest: parts are messages unless they say otherwise
}

// newScanner gives the buffers the size that most messages need, in one piece.
func newScanner(src *source) *scanner {
	s := &scanner{src: src, parts: make([]Part, 0, 1), wires: make([]partWire, 0, 1)}
	arena := make([]byte, 1536)
	piece := func(n int) []byte {
		b := arena[:0:n]
		arena = arena[n:]
		return b
	}
	s.wire = piece(384)
	s.fields.values = piece(384)
	for i := range s.fields.addresses {
		s.fields.addresses[i].wire = piece(96)
	}
	s.fields.parser = addressParser{text: piece(64), name: piece(64), comment: piece(64)}
	return s
}

// place is an offset with the number of line breaks before it.
type place struct{ offset, lines int64 }

func (s *scanner) run() *Digest {
	s.enter(true)
	for {
		k, last, ok := s.nextDelimiter()
		if !ok {
			break
		}
		s.closeAbove(k, s.contentEnd())
		s.src.skipLine()
		if last {
			s.open[k].closed = true
			continue
		}
		s.enter(false)
	}
	s.closeAbove(-1, s.here())
	return &Digest{
		Size:          s.src.size,
		Envelope:      s.envelope,
		BodyStructure: s.appendStructure(make([]byte, 0, 2*len(s.wire)+64), 0),
		SentDate:      s.date,
		EncodedKeys:   s.keys,
		Parts:         s.parts,
	}
}

func (s *scanner) here() place { return place{s.src.offset(), s.src.lines} }

// contentEnd is where content ends before the delimiter at the current place:
// the line break belongs to the delimiter.
func (s *scanner) contentEnd() place {
	n := s.src.breakBefore()
	return place{s.src.offset() - int64(n), s.src.lines - int64(min(n, 1))}
}

// enter reads the header here and those of the messages directly inside.
func (s *scanner) enter(envelope bool) {
	for s.enterPart(envelope) == KindMessage {
		envelope = true
	}
}

// enterPart reads the header here and opens the part that it describes.
func (s *scanner) enterPart(envelope bool) Kind {
	p := Part{HeaderOff: s.src.offset(), Parent: s.top()}
	s.readHeader(envelope)
	p.HeaderLen = s.src.offset() - p.HeaderOff
	t := parseMediaType(s.fields.value(fieldContentType), s.inDigest(), s.params)
	s.params = t.params
	frame := openPart{index: int32(len(s.parts)), lines: s.src.lines}
	var w partWire
	if s.isOpaque(t.kind()) {
		p.Type = []byte("application/octet-stream")
		w = s.fixedWire(opaqueBasic)
	} else {
		p.Kind = t.kind()
		s.name(&p, &t)
		if p.Kind == KindMultipart {
			frame.boundary = boundaryOf(&t)
			frame.ofDigests = equalFold(t.sub, "digest")
		}
		w = s.describe(&t, p.Kind)
	}
	s.takeEnvelope(&w, envelope)
	s.push(p, w, frame)
	return p.Kind
}

// isOpaque says whether the next part is beyond the limits, and closes the
// digest if it is the last.
func (s *scanner) isOpaque(kind Kind) bool {
	if len(s.parts) >= MaxParts-2 || len(s.wire) > maxDigestBytes {
		s.full = true
	}
	return s.full || kind != KindLeaf && len(s.open) >= MaxDepth
}

// name sets type, charset and encoding.
func (s *scanner) name(p *Part, t *mediaType) {
	from := len(s.names)
	s.names = t.appendLower(s.names)
	p.Type = s.names[from:len(s.names):len(s.names)]
	from = len(s.names)
	s.names = appendLower(s.names, t.charset())
	p.Charset = s.names[from:len(s.names):len(s.names)]
	p.Encoding = parseEncoding(s.fields.value(fieldEncoding))
}

func boundaryOf(t *mediaType) []byte {
	b := bytes.TrimRight(findParam(t.params, "boundary"), " \t")
	if len(b) == 0 || len(b) > maxBoundary {
		return nil
	}
	return bytes.Clone(b)
}

// takeEnvelope keeps the envelope of the outermost message apart, since it is
// no part of BODYSTRUCTURE.
func (s *scanner) takeEnvelope(w *partWire, wanted bool) {
	if !wanted {
		return
	}
	if len(s.parts) == 0 {
		s.envelope = appendEnvelope(make([]byte, 0, 512), &s.fields)
		keys := NewKeys(s.envelope, s.fields.value(fieldReferences))
		s.date, s.keys = keys.Sent, keys.append(nil)
		return
	}
	from := len(s.wire)
	s.wire = appendEnvelope(s.wire, &s.fields)
	w.envelope = span{from, len(s.wire)}
}

func (s *scanner) fixedWire(basic string) partWire {
	from := len(s.wire)
	s.wire = append(s.wire, basic...)
	mid := len(s.wire)
	s.wire = append(s.wire, noExtension...)
	return partWire{basic: span{from, mid}, extension: span{mid, len(s.wire)}}
}

func (s *scanner) push(p Part, w partWire, frame openPart) {
	s.parts = append(s.parts, p)
	s.wires = append(s.wires, w)
	s.open = append(s.open, frame)
	s.longest = max(s.longest, len(frame.boundary))
}

// top is the part that the next one will be inside of.
func (s *scanner) top() int32 {
	if len(s.open) == 0 {
		return -1
	}
	return s.open[len(s.open)-1].index
}

func (s *scanner) inDigest() bool {
	return len(s.open) > 0 && s.open[len(s.open)-1].ofDigests
}

// readHeader reads up to and with the empty line, or up to a delimiter: a
// part may lack it.
func (s *scanner) readHeader(envelope bool) {
	s.fields.reset(envelope)
	for !s.atDelimiter() {
		line := s.src.line()
		if len(line) == 0 {
			break
		}
		if isEmptyLine(line) {
			s.src.advance(len(line))
			break
		}
		s.headerLine(line)
	}
	s.fields.finish()
}

func (s *scanner) headerLine(line []byte) {
	if isSpace(line[0]) {
		s.fields.more(line)
	} else {
		s.fields.begin(line)
	}
	for {
		s.src.advance(len(line))
		if line[len(line)-1] == '\n' {
			return
		}
		if line = s.src.line(); len(line) == 0 {
			return
		}
		s.fields.more(line)
	}
}

// closeAbove ends all open parts above place k of the stack. A part that ends
// inside its own header's line break makes those around it longer, so that
// every part is within its parent.
func (s *scanner) closeAbove(k int, end place) {
	for i := len(s.open) - 1; i > k; i-- {
		end = s.finish(&s.open[i], end)
	}
	s.open = s.open[:k+1]
	s.longest = 0
	for i := range s.open {
		s.longest = max(s.longest, len(s.open[i].boundary))
	}
}

// finish ends a part at end, or where its body starts if that is later.
func (s *scanner) finish(o *openPart, end place) place {
	p := &s.parts[o.index]
	if start := p.BodyOff(); end.offset < start {
		end = place{start, o.lines}
	}
	p.BodyLen = end.offset - p.BodyOff()
	p.Lines = end.lines - o.lines
	if p.Kind == KindMultipart && int(o.index)+1 == len(s.parts) {
		s.addOnlyPart(o.index)
		p = &s.parts[o.index]
	}
	p.End = int32(len(s.parts))
	return end
}

// addOnlyPart gives a multipart without parts, which IMAP cannot express, one
// text part that is its whole body. So a client can show what is there.
func (s *scanner) addOnlyPart(parent int32) {
	p := s.parts[parent]
	s.parts = append(s.parts, Part{
		HeaderOff: p.BodyOff(),
		BodyLen:   p.BodyLen,
		Lines:     p.Lines,
		Type:      []byte("text/plain"),
		Charset:   []byte("us-ascii"),
		Parent:    parent,
		End:       parent + 2,
	})
	s.wires = append(s.wires, s.fixedWire(emptyBasic))
}
