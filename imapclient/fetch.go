package imapclient

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// maxKept is the most that a connection keeps of a buffer for the next response.
const maxKept = 64 << 10

// fetch reads a FETCH response behind its name.
func (c *Conn) fetch(h *Handler, seq imap.SeqNum) error {
	for i, kept := range c.raw {
		if cap(kept) > maxKept {
			c.raw[i] = nil
		}
	}
	c.fetched = FetchData{Seq: seq}
	m := &c.fetched
	if !c.dec.ExpectSP() {
		return c.syntax("FETCH")
	}
	if err := c.dec.List(func() error { return c.fetchItem(h, m) }); err != nil {
		if c.refused != nil {
			return c.refused
		}
		return c.syntax("FETCH")
	}
	c.drop()
	if h.Fetch == nil {
		return nil
	}
	return h.Fetch(m)
}

func (c *Conn) fetchItem(h *Handler, m *FetchData) error {
	word, ok := c.dec.AppendAtom(c.word[:0])
	if c.word = word; !c.dec.Expect(ok, "item") {
		return c.dec.Err()
	}
	upper(word)
	if kind := string(word); kind == "BODY" || kind == "BINARY" || kind == "BINARY.SIZE" {
		if section, is := c.sectionName(kind); is {
			if !c.dec.ExpectSP() {
				return c.dec.Err()
			}
			if kind == "BINARY.SIZE" {
				return c.binarySize(m, section)
			}
			return c.section(h, m, section)
		}
	}
	if !c.dec.ExpectSP() {
		return c.dec.Err()
	}
	item, ok := c.fetchValue(word, m)
	if !ok {
		return c.dec.Err()
	}
	m.Has |= item
	return nil
}

// fetchValue reads the value of an item that is no section.
func (c *Conn) fetchValue(name []byte, m *FetchData) (item Items, ok bool) {
	d := c.dec
	raw := func(dst, keep *[]byte) bool {
		var err error
		*keep, err = d.AppendRawValue(*keep)
		*dst = *keep
		return err == nil
	}
	var n uint64
	switch string(name) {
	case "UID":
		ok = d.Expect(d.Number((*uint32)(&m.UID)) && m.UID > 0, "UID")
		return ItemUID, ok
	case "FLAGS":
		ok = d.ExpectFlagList(&m.Flags)
		for i, f := range m.Flags {
			m.Flags[i] = imap.CanonicalFlag(f)
		}
		m.Flags = slices.DeleteFunc(m.Flags, func(f imap.Flag) bool { return imap.HasFlag(c.veil.Flags, f) })
		return ItemFlags, ok
	case "MODSEQ":
		ok = d.ExpectSpecial('(') && d.ExpectNumber64(&n) && d.ExpectSpecial(')')
		m.ModSeq = imap.ModSeq(n)
		return ItemModSeq, ok
	case "INTERNALDATE":
		return ItemInternalDate, d.ExpectDateTime(&m.InternalDate)
	case "RFC822.SIZE":
		ok = d.ExpectNumber64(&n)
		m.Size = int64(n)
		return ItemSize, ok
	case "ENVELOPE":
		return ItemEnvelope, raw(&m.Envelope, &c.raw[0])
	case "BODY":
		return ItemBody, raw(&m.Body, &c.raw[1])
	case "BODYSTRUCTURE":
		return ItemBodyStructure, raw(&m.BodyStructure, &c.raw[2])
	}
	return c.extensionValue(string(name), m)
}

// extensionValue reads the items of RFC 8474, 8514 and 8970, and passes over
// what is not known.
func (c *Conn) extensionValue(name string, m *FetchData) (item Items, ok bool) {
	d := c.dec
	switch name {
	case "EMAILID":
		return ItemEmailID, c.objectID(&m.EmailID)
	case "THREADID":
		return ItemThreadID, c.objectID(&m.ThreadID)
	case "SAVEDATE":
		if b, _ := d.PeekByte(); b == '"' {
			return ItemSaveDate, d.ExpectDateTime(&m.SaveDate)
		}
		return ItemSaveDate, c.null()
	case "PREVIEW":
		var null bool
		ok = d.ExpectNString(&m.Preview, &null)
		m.HasPreview = !null
		return ItemPreview, ok
	}
	_, err := d.RawValue()
	return 0, err == nil
}

// objectID reads (id), or NIL.
func (c *Conn) objectID(id *imap.ObjectID) bool {
	d := c.dec
	if !d.Special('(') {
		return c.null()
	}
	return d.ExpectAtom((*string)(id)) && d.Expect(id.Valid(), "object ID") && d.ExpectSpecial(')')
}

// null reads NIL.
func (c *Conn) null() bool {
	var word string
	return c.dec.ExpectAtom(&word) && c.dec.Expect(strings.EqualFold(word, "NIL"), "NIL")
}

// maxBinarySizes bounds what one response can make us hold.
const maxBinarySizes = 2 * imap.MaxSections

func (c *Conn) binarySize(m *FetchData, name string) error {
	var n uint64
	if c.dec.ExpectNumber64(&n) && c.dec.Expect(len(m.BinarySizes) < maxBinarySizes, "fewer sizes") {
		m.BinarySizes = append(m.BinarySizes, BinarySize{Name: name, Size: int64(n)})
	}
	return c.dec.Err()
}

// upper makes ASCII letters capitals, in place.
func upper(b []byte) {
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
}

// sectionName reads [section]<origin> behind BODY or the like, if that is what
// follows.
func (c *Conn) sectionName(kind string) (name string, is bool) {
	if !c.dec.Special('[') {
		return "", false
	}
	var part string
	c.dec.Atom(&part)
	name = kind + "[" + strings.ToUpper(part)
	if c.dec.SP() {
		var fields []string
		_ = c.dec.List(func() error {
			var field string
			c.dec.ExpectAString(&field)
			fields = append(fields, strings.ToUpper(field))
			return c.dec.Err()
		})
		name += " (" + strings.Join(fields, " ") + ")"
	}
	c.dec.ExpectSpecial(']')
	name += "]"
	if c.dec.Special('<') {
		var origin uint64
		c.dec.ExpectNumber64(&origin)
		c.dec.ExpectSpecial('>')
		name += "<" + strconv.FormatUint(origin, 10) + ">"
	}
	return name, true
}

// section hands on the value of a section; a literal as it comes.
func (c *Conn) section(h *Handler, m *FetchData, name string) error {
	s := &SectionData{Name: name}
	if b, ok := c.dec.PeekByte(); ok && (b == '{' || b == '~') {
		literal, err := c.dec.LiteralReader()
		if err != nil {
			return err
		}
		s.Size, s.Body = literal.Size, literal
	} else {
		var text string
		if !c.dec.ExpectNString(&text, &s.Missing) {
			return c.dec.Err()
		}
		s.Size, s.Body = int64(len(text)), strings.NewReader(text)
	}
	if h.Section != nil {
		if c.refused = h.Section(m, s); c.refused != nil {
			return c.refused
		}
	}
	if _, err := io.Copy(io.Discard, s.Body); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}
