package imapserver

import (
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
)

// parseFetch reads the arguments of FETCH. A response to UID FETCH always has
// the UID (RFC 3501 section 6.4.8).
func (s *session) parseFetch(isUID bool) (messageSet, *fetchRequest, error) {
	req := &fetchRequest{uid: isUID}
	set, err := s.parseSet()
	if err != nil {
		return set, nil, err
	}
	if !s.dec.ExpectSP() {
		return set, nil, s.dec.Err()
	}
	item := func() error {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		return s.parseFetchItem(req, strings.ToUpper(name))
	}
	if b, ok := s.dec.PeekByte(); ok && b == '(' {
		err = s.dec.List(item)
		if err == nil && !req.asksAnything() {
			err = imap.BadCommand("Empty FETCH list")
		}
	} else {
		err = s.parseFetchMacro(req)
	}
	if err == nil && s.dec.SP() {
		err = s.parseFetchModifiers(req, isUID)
	}
	if err != nil {
		return set, nil, err
	}
	s.dec.ExpectCRLF()
	if s.examined {
		req.items.MarkSeen = false
	}
	return set, req, s.dec.Err()
}

// parseFetchModifiers reads what may stand behind the items. RFC 4466 section
// 2.3, RFC 7162 sections 3.1.4.1 and 3.2.6.
func (s *session) parseFetchModifiers(req *fetchRequest, isUID bool) error {
	err := s.dec.List(func() error {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		switch strings.ToUpper(name) {
		case "CHANGEDSINCE":
			req.items.ModSeq, req.changedSince = true, true
			return s.parseModSeq(&req.items.ChangedSince)
		case "VANISHED":
			req.vanished = true
			return nil
		case "PARTIAL": // RFC 9394 section 3.3
			if !isUID {
				return imap.BadCommand("PARTIAL is for UID FETCH")
			}
			return s.parsePartial(&req.partial)
		}
		return imap.BadCommand("Unknown FETCH modifier")
	})
	switch {
	case err != nil || !req.vanished:
		return err
	case !req.changedSince || !isUID:
		return imap.BadCommand("VANISHED is for UID FETCH with CHANGEDSINCE")
	case s.on&qresync == 0:
		return imap.BadCommand("QRESYNC is not enabled")
	}
	return nil
}

// parseModSeq reads a space and a modification sequence.
func (s *session) parseModSeq(n *imap.ModSeq) error {
	if s.dec.ExpectSP() {
		s.dec.ExpectNumber64((*uint64)(n))
	}
	return s.dec.Err()
}

// asksAnything is false after "()", which the grammar does not have.
func (r *fetchRequest) asksAnything() bool {
	i := &r.items
	return r.uid || i.Flags || i.ModSeq || i.InternalDate || i.Size || i.Envelope || i.Body || i.BodyStructure ||
		i.EmailID || i.ThreadID || i.SaveDate || i.Preview || len(i.BinarySizes) > 0 || len(i.Sections) > 0
}

// parseFetchMacro reads what may stand without parentheses: one item, or a
// macro, which may stand nowhere else.
func (s *session) parseFetchMacro(req *fetchRequest) error {
	var name string
	if !s.dec.ExpectAtom(&name) {
		return s.dec.Err()
	}
	name = strings.ToUpper(name)
	i := &req.items
	switch name {
	case "FULL":
		i.Flags, i.InternalDate, i.Size, i.Envelope, i.Body = true, true, true, true, true
	case "ALL":
		i.Flags, i.InternalDate, i.Size, i.Envelope = true, true, true, true
	case "FAST":
		i.Flags, i.InternalDate, i.Size = true, true, true
	default:
		return s.parseFetchItem(req, name)
	}
	return nil
}

// parseFetchItem takes an item whose name, up to a "[", has been read.
func (s *session) parseFetchItem(req *fetchRequest, name string) error {
	i := &req.items
	switch name {
	case "UID":
		req.uid = true
	case "FLAGS":
		i.Flags = true
	case "MODSEQ":
		i.ModSeq = true
	case "INTERNALDATE":
		i.InternalDate = true
	case "RFC822.SIZE":
		i.Size = true
	case "ENVELOPE":
		i.Envelope = true
	case "BODYSTRUCTURE":
		i.BodyStructure = true
	case "RFC822":
		i.MarkSeen = true
		return req.add(imap.Section{Item: name})
	case "RFC822.HEADER":
		return req.add(imap.Section{Item: name, Kind: imap.SectionHeader})
	case "RFC822.TEXT":
		i.MarkSeen = true
		return req.add(imap.Section{Item: name, Kind: imap.SectionText})
	case "BODY", "BODY.PEEK":
		return s.parseBody(req, name == "BODY.PEEK")
	case "BINARY", "BINARY.PEEK", "BINARY.SIZE":
		return s.parseBinary(req, name)
	case "EMAILID":
		i.EmailID = true
	case "THREADID":
		i.ThreadID = true
	case "SAVEDATE":
		i.SaveDate = true
	case "PREVIEW":
		i.Preview = true
		return s.parsePreview(req)
	default:
		return imap.BadCommand("Unknown FETCH item")
	}
	return nil
}

// parseBody reads what follows BODY and BODY.PEEK: a section in brackets, or
// for BODY nothing.
func (s *session) parseBody(req *fetchRequest, peek bool) error {
	if !s.dec.Special('[') {
		if peek {
			return imap.BadCommand("Expected section")
		}
		req.items.Body = true
		return s.dec.Err()
	}
	sec, err := s.parseSection()
	if err != nil {
		return err
	}
	req.items.MarkSeen = req.items.MarkSeen || !peek
	return req.add(sec)
}

// parseBinary reads the section behind BINARY, BINARY.PEEK and BINARY.SIZE. RFC
// 3516 section 4.
func (s *session) parseBinary(req *fetchRequest, name string) error {
	if !s.dec.ExpectSpecial('[') {
		return s.dec.Err()
	}
	sec, err := s.parseSection()
	if err != nil {
		return err
	}
	size := name == "BINARY.SIZE"
	if sec.Kind != imap.SectionAll || size && sec.Partial {
		return imap.BadCommand("Invalid section part")
	}
	if !size {
		sec.Binary = true
		req.items.MarkSeen = req.items.MarkSeen || name == "BINARY"
		return req.add(sec)
	}
	if len(req.items.BinarySizes) >= imap.MaxSections {
		return imap.BadCommand("Too many sections")
	}
	req.items.BinarySizes = append(req.items.BinarySizes, sec.Part)
	req.sizes = append(req.sizes, "BINARY.SIZE"+strings.TrimPrefix(sectionLabel(&sec), "BODY"))
	return nil
}

// parsePreview reads the modifiers of PREVIEW, if there are any. RFC 8970
// section 6. A list of items may end behind it.
func (s *session) parsePreview(req *fetchRequest) error {
	if !s.dec.SPBefore('(') {
		return s.dec.Err()
	}
	return s.dec.List(func() error {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		if !strings.EqualFold(name, "LAZY") {
			return imap.BadCommand("Unknown PREVIEW modifier")
		}
		req.items.PreviewLazy = true
		return nil
	})
}

func (req *fetchRequest) add(sec imap.Section) error {
	if len(req.items.Sections) >= imap.MaxSections {
		return imap.BadCommand("Too many sections")
	}
	req.items.Sections = append(req.items.Sections, sec)
	req.labels = append(req.labels, sectionLabel(&sec))
	return nil
}

// parseSection reads a section behind its "[", and a "<offset.count>" behind
// its "]". RFC 3501 section 9, section and fetch-att.
func (s *session) parseSection() (imap.Section, error) {
	var sec imap.Section
	var spec string
	if s.dec.Atom(&spec) {
		if err := parseSectionSpec(&sec, strings.ToUpper(spec)); err != nil {
			return sec, err
		}
	}
	if sec.Kind == imap.SectionHeaderFields || sec.Kind == imap.SectionHeaderFieldsNot {
		if !s.dec.ExpectSP() {
			return sec, s.dec.Err()
		}
		if err := s.dec.List(func() error { return s.parseField(&sec) }); err != nil {
			return sec, err
		}
		if len(sec.Fields) == 0 {
			return sec, imap.BadCommand("Empty list of header fields")
		}
	}
	if !s.dec.ExpectSpecial(']') {
		return sec, s.dec.Err()
	}
	if s.dec.Special('<') {
		sec.Partial = true
		if !s.dec.ExpectNumber64(&sec.Offset) || !s.dec.ExpectSpecial('.') ||
			!s.dec.ExpectNumber64(&sec.Count) || !s.dec.ExpectSpecial('>') {
			return sec, s.dec.Err()
		}
		if sec.Count == 0 {
			return sec, imap.BadCommand("Partial fetch of nothing")
		}
	}
	return sec, s.dec.Err()
}

func (s *session) parseField(sec *imap.Section) error {
	var field string
	if !s.dec.ExpectAString(&field) {
		return s.dec.Err()
	}
	if len(sec.Fields) >= imap.MaxSectionFields {
		return imap.BadCommand("Too many header fields")
	}
	sec.Fields = append(sec.Fields, field)
	return nil
}

// parseSectionSpec reads "1.2.TEXT" and the like.
func parseSectionSpec(sec *imap.Section, spec string) error {
	for spec != "" && spec[0] >= '0' && spec[0] <= '9' {
		number, rest, more := strings.Cut(spec, ".")
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || n == 0 || more && rest == "" {
			return imap.BadCommand("Invalid section part")
		}
		if len(sec.Part) >= imap.MaxSectionDepth {
			return imap.BadCommand("Section is too deep")
		}
		sec.Part = append(sec.Part, int(n))
		spec = rest
	}
	var known bool
	if sec.Kind, known = imap.ParseSectionKind(spec); !known {
		return imap.BadCommand("Unknown section")
	}
	if sec.Kind == imap.SectionMIME && len(sec.Part) == 0 {
		return imap.BadCommand("MIME needs a part")
	}
	return nil
}

// sectionLabel is how a response names a section: as the request did, without
// .PEEK and the count. RFC 3501 section 7.4.2.
func sectionLabel(sec *imap.Section) string {
	if sec.Item != "" {
		return sec.Item
	}
	b := []byte("BODY[")
	if sec.Binary {
		b = []byte("BINARY[")
	}
	name := sec.Kind.String()
	for i, n := range sec.Part {
		b = strconv.AppendInt(b, int64(n), 10)
		if i < len(sec.Part)-1 || name != "" {
			b = append(b, '.')
		}
	}
	b = append(b, name...)
	if len(sec.Fields) > 0 {
		b = append(b, " ("...)
		for i, f := range sec.Fields {
			if i > 0 {
				b = append(b, ' ')
			}
			b = imapwire.AppendAString(b, f)
		}
		b = append(b, ')')
	}
	b = append(b, ']')
	if sec.Partial {
		b = append(b, '<')
		b = strconv.AppendUint(b, sec.Offset, 10)
		b = append(b, '>')
	}
	return string(b)
}
