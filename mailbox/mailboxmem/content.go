package mailboxmem

import (
	"bytes"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// content adds to out what items ask of the message itself. It needs no lock.
func (m *msg) content(items *imap.FetchItems, out *mailbox.Message) (err error) {
	if items.InternalDate {
		out.InternalDate = m.date
	}
	if items.Size {
		out.Size = int64(len(m.body))
	}
	if items.Envelope {
		out.Envelope = m.digest.Envelope
	}
	if items.Body {
		out.Body = m.digest.AppendBody(nil)
	}
	if items.BodyStructure {
		out.BodyStructure = m.digest.BodyStructure
	}
	if items.EmailID {
		out.EmailID = m.email
	}
	if items.SaveDate {
		out.SaveDate = m.saved
	}
	if items.Preview {
		var matcher message.Matcher
		if out.Preview, err = matcher.Preview(bytes.NewReader(m.body), m.digest, mailbox.MaxPreview); err != nil {
			return err
		}
		out.HasPreview = true
	}
	for _, part := range items.BinarySizes {
		data, err := m.section(&imap.Section{Part: part, Binary: true})
		if err != nil {
			return err
		}
		out.BinarySizes = append(out.BinarySizes, data.Size)
	}
	for i := range items.Sections {
		data, err := m.section(&items.Sections[i])
		if err != nil {
			return err
		}
		out.Sections = append(out.Sections, data)
	}
	return nil
}

// specifiers are the names of package message for the kinds of sections.
func (m *msg) section(s *imap.Section) (mailbox.SectionData, error) {
	if s.Binary {
		return m.binary(s)
	}
	off, length, ok := m.digest.Section(s.Part, s.Kind)
	if !ok {
		return mailbox.SectionData{Missing: true}, nil
	}
	data := m.body[off : off+length]
	if s.Kind == imap.SectionHeaderFields || s.Kind == imap.SectionHeaderFieldsNot {
		data = message.FilterFields(nil, data, s.Fields, s.Kind == imap.SectionHeaderFieldsNot)
	}
	if s.Partial {
		from := min(int64(s.Offset), int64(len(data)))
		data = data[from:][:min(int64(s.Count), int64(len(data))-from)]
	}
	return mailbox.SectionData{Size: int64(len(data)), Body: bytes.NewReader(data)}, nil
}

// binary is a section without its transfer encoding.
func (m *msg) binary(s *imap.Section) (mailbox.SectionData, error) {
	part, ok := m.digest.Content(s.Part)
	if !ok {
		return mailbox.SectionData{Missing: true}, nil
	}
	from, count := int64(0), int64(len(m.body))
	if s.Partial {
		from, count = int64(s.Offset), int64(s.Count)
	}
	n, body, err := part.Range(bytes.NewReader(m.body), from, count)
	if err != nil {
		return mailbox.SectionData{}, imap.Wrap(imap.CodeUnknownCTE, "Content-Transfer-Encoding is unknown", err)
	}
	return mailbox.SectionData{Size: n, Body: body}, nil
}

// matchesContent decides the search keys that look into the message.
func (m *msg) matchesContent(k *imap.SearchKey) (bool, error) {
	var matcher message.Matcher
	needle := message.NewNeedle(k.Text)
	switch k.Op {
	case imap.SearchBody:
		return matcher.Body(bytes.NewReader(m.body), m.digest, needle)
	case imap.SearchText:
		return matcher.Text(bytes.NewReader(m.body), m.digest, needle)
	case imap.SearchHeader:
		off, length, _ := m.digest.Section(nil, imap.SectionHeader)
		return matcher.Header(m.body[off:off+length], k.Field, needle), nil
	}
	return m.matchesSent(k), nil
}

// matchesSent compares the day of the Date field. A message without one never matches.
func (m *msg) matchesSent(k *imap.SearchKey) bool {
	if !m.digest.SentDate.Valid {
		return false
	}
	day := dayOf(m.digest.SentDate.Time())
	switch k.Op {
	case imap.SearchSentBefore:
		return day.Before(k.Date)
	case imap.SearchSentOn:
		return day.Equal(k.Date)
	case imap.SearchSentSince:
		return !day.Before(k.Date)
	}
	return false
}

// keys are what SORT and THREAD compare.
func (m *msg) keys() *message.Keys {
	keys := new(message.Keys)
	m.digest.Keys(keys)
	return keys
}
