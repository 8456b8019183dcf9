package message

import "github.com/roost-mail/roost/imap"

// Section finds the bytes of BODY[path.kind] in the raw message, of HEADER.FIELDS those of
// the header. It is not ok
// if there is no such part, or if the part has no such section; a server then
// answers with NIL or an empty string. HEADER and TEXT are sections of the
// message and of parts that are messages, MIME is one of every numbered part;
// of part 1 of a message that is no multipart it is the message's header.
func (d *Digest) Section(path []int, kind imap.SectionKind) (off, length int64, ok bool) {
	if len(path) == 0 {
		root := &d.Parts[0]
		switch kind {
		case imap.SectionAll:
			return 0, d.Size, true
		case imap.SectionHeader, imap.SectionHeaderFields, imap.SectionHeaderFieldsNot:
			return root.HeaderOff, root.HeaderLen, true
		case imap.SectionText:
			return root.BodyOff(), root.BodyLen, true
		}
		return 0, 0, false
	}
	i, ok := d.Find(path)
	if !ok {
		return 0, 0, false
	}
	return d.partSection(i, kind)
}

func (d *Digest) partSection(i int32, kind imap.SectionKind) (off, length int64, ok bool) {
	p := &d.Parts[i]
	switch kind {
	case imap.SectionAll:
		return p.BodyOff(), p.BodyLen, true
	case imap.SectionMIME:
		return p.HeaderOff, p.HeaderLen, true
	}
	if p.Kind != KindMessage {
		return 0, 0, false
	}
	inner := &d.Parts[i+1]
	switch kind {
	case imap.SectionHeader, imap.SectionHeaderFields, imap.SectionHeaderFieldsNot:
		return inner.HeaderOff, inner.HeaderLen, true
	case imap.SectionText:
		return inner.BodyOff(), inner.BodyLen, true
	}
	return 0, 0, false
}

// Find is the index in Parts of the part that a section number names. The
// empty path is the message itself. Every message has at least a part 1: one
// that is no multipart is itself its only part.
func (d *Digest) Find(path []int) (i int32, ok bool) {
	whole := true // part i is a message of which no part was chosen yet
	for _, n := range path {
		if d.Parts[i].Kind == KindMessage && !whole {
			i, whole = i+1, true
		}
		switch {
		case d.Parts[i].Kind == KindMultipart:
			if i, ok = d.child(i, n); !ok {
				return 0, false
			}
		case !whole || n != 1:
			return 0, false
		}
		whole = false
	}
	return i, true
}
