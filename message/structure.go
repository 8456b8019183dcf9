package message

import "bytes"

// partWire is what a part's header gives to BODYSTRUCTURE, as ranges of the
// scanner's wire bytes.
type partWire struct {
	// basic is type, subtype, parameters, id, description and encoding of a
	// leaf or message; of a multipart it is the subtype.
	basic span
	// extension is what only BODYSTRUCTURE has: for a multipart it starts
	// with the parameters, for others with the MD5.
	extension span
	// envelope is that of the message whose header this is, if it is not the
	// outermost one.
	envelope span
}

const (
	emptyBasic  = `"text" "plain" ("charset" "us-ascii") NIL NIL "7bit"`
	opaqueBasic = `"application" "octet-stream" NIL NIL NIL "binary"`
	noExtension = `NIL NIL NIL NIL`
)

// describe writes the wire parts of a header.
func (s *scanner) describe(t *mediaType, kind Kind) partWire {
	var w partWire
	from := len(s.wire)
	if kind == KindMultipart {
		s.wire = appendString(s.wire, t.sub)
		w.basic = span{from, len(s.wire)}
		from = len(s.wire)
		s.wire = append(appendParamList(s.wire, t.params), ' ')
	} else {
		s.basicFields(t)
		w.basic = span{from, len(s.wire)}
		from = len(s.wire)
		s.wire = append(appendText(s.wire, s.fields.value(fieldMD5)), ' ')
	}
	s.extensionFields()
	w.extension = span{from, len(s.wire)}
	return w
}

func (s *scanner) basicFields(t *mediaType) {
	s.wire = append(appendString(s.wire, t.main), ' ')
	s.wire = append(appendString(s.wire, t.sub), ' ')
	s.wire = append(appendParamList(s.wire, t.params), ' ')
	s.wire = append(appendText(s.wire, s.fields.value(fieldContentID)), ' ')
	s.wire = append(appendText(s.wire, s.fields.value(fieldDescription)), ' ')
	s.wire = appendString(s.wire, encodingToken(s.fields.value(fieldEncoding)))
}

// encodingToken is the name of the encoding as it was sent.
func encodingToken(value []byte) []byte {
	tok, _ := token(skipSpace(value))
	if len(tok) == 0 {
		return []byte("7bit")
	}
	return tok
}

func parseEncoding(value []byte) Encoding {
	switch tok := encodingToken(value); {
	case equalFold(tok, "base64"):
		return EncodingBase64
	case equalFold(tok, "quoted-printable"):
		return EncodingQuotedPrintable
	case equalFold(tok, "7bit"), equalFold(tok, "8bit"), equalFold(tok, "binary"):
		return EncodingIdentity
	}
	return EncodingUnknown
}

// extensionFields writes disposition, language and location.
func (s *scanner) extensionFields() {
	disposition := s.fields.value(fieldDisposition)
	if tok, _ := token(skipSpace(disposition)); len(tok) > 0 {
		s.params = appendParams(s.params[:0], disposition)
		s.wire = append(s.wire, '(')
		s.wire = append(appendString(s.wire, tok), ' ')
		s.wire = append(appendParamList(s.wire, s.params), ") "...)
	} else {
		s.wire = append(s.wire, "NIL "...)
	}
	s.wire = append(appendLanguages(s.wire, s.fields.value(fieldLanguage)), ' ')
	s.wire = appendText(s.wire, s.fields.value(fieldLocation))
}

// appendLanguages writes body-fld-lang: a string, or a list of them.
func appendLanguages(dst, value []byte) []byte {
	from, n := len(dst), 0
	for value != nil && n < maxParams {
		var tok []byte
		tok, value = token(skipSpace(value))
		if len(tok) > 0 {
			dst = appendString(append(dst, separator(n)), tok)
			n++
		}
		i := bytes.IndexByte(value, ',')
		if i < 0 {
			break
		}
		value = value[i+1:]
	}
	switch n {
	case 0:
		return append(dst, "NIL"...)
	case 1:
		return append(dst[:from], dst[from+1:]...)
	}
	return append(dst, ')')
}

// appendStructure writes the BODYSTRUCTURE of part i. It calls itself at most
// MaxDepth times.
func (s *scanner) appendStructure(dst []byte, i int32) []byte {
	p, w := &s.parts[i], &s.wires[i]
	dst = append(dst, '(')
	if p.Kind == KindMultipart {
		for c := i + 1; c < p.End; c = s.parts[c].End {
			dst = s.appendStructure(dst, c)
		}
		dst = append(dst, ' ')
		dst = append(dst, s.text(w.basic)...)
	} else {
		dst = append(dst, s.text(w.basic)...)
		dst = appendNumber(append(dst, ' '), p.BodyLen)
	}
	if p.Kind == KindMessage {
		dst = append(dst, ' ')
		dst = append(dst, s.text(s.wires[i+1].envelope)...)
		dst = s.appendStructure(append(dst, ' '), i+1)
	}
	if p.Kind == KindMessage || p.IsText() {
		dst = appendNumber(append(dst, ' '), p.Lines)
	}
	dst = append(dst, ' ')
	dst = append(dst, s.text(w.extension)...)
	return append(dst, ')')
}

func (s *scanner) text(r span) []byte { return s.wire[r.from:r.to] }

// AppendBody writes the value of FETCH BODY: the body structure without its
// extension data. It is seldom asked for, so it is made from BodyStructure
// each time.
func (d *Digest) AppendBody(dst []byte) []byte {
	dst, _ = appendBasic(dst, d.BodyStructure, MaxDepth+1)
	return dst
}

// appendBasic copies the body structure at the start of b without extension
// data, and returns what follows it.
func appendBasic(dst, b []byte, depth int) (out, rest []byte) {
	rest = skipItem(b)
	if depth == 0 || len(b) < 2 || b[0] != '(' {
		return append(dst, b[:len(b)-len(rest)]...), rest
	}
	inner := b[1 : len(b)-len(rest)]
	dst = append(dst, '(')
	if inner[0] == '(' {
		for len(inner) > 0 && inner[0] == '(' {
			dst, inner = appendBasic(dst, inner, depth-1)
		}
		dst, _ = appendItems(dst, inner, 1)
		return append(dst, ')'), rest
	}
	return append(appendBasicLeaf(dst, inner, depth), ')'), rest
}

func appendBasicLeaf(dst, b []byte, depth int) []byte {
	kind := leafKind(b)
	dst, b = appendItems(dst, b, 7)
	switch kind {
	case "text":
		dst, _ = appendItems(dst, b, 1)
	case "message":
		dst, b = appendItems(dst, b, 1)
		if len(b) > 0 && b[0] == ' ' {
			dst, b = appendBasic(append(dst, ' '), b[1:], depth-1)
		}
		dst, _ = appendItems(dst, b, 1)
	}
	return dst
}

// leafKind tells by type and subtype what follows the basic fields.
func leafKind(b []byte) string {
	const quotedText, quotedMessage = `"text" `, `"message" `
	switch {
	case len(b) >= len(quotedText) && equalFold(b[:len(quotedText)], quotedText):
		return "text"
	case len(b) >= len(quotedMessage) && equalFold(b[:len(quotedMessage)], quotedMessage):
		sub := b[len(quotedMessage):]
		sub = sub[:len(sub)-len(skipItem(sub))]
		if equalFold(sub, `"rfc822"`) || equalFold(sub, `"global"`) {
			return "message"
		}
	}
	return ""
}

// appendItems copies up to n items of a list with the space before each.
func appendItems(dst, b []byte, n int) (out, rest []byte) {
	for ; n > 0 && len(b) > 0 && b[0] != ')'; n-- {
		if b[0] == ' ' {
			dst = append(dst, ' ')
			b = b[1:]
		}
		rest := skipItem(b)
		dst = append(dst, b[:len(b)-len(rest)]...)
		b = rest
	}
	return dst, b
}
