package mailboxmem

import (
	"bytes"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// content adds to out what items ask of the message itself.
func (m *message) content(items *imap.FetchItems, out *mailbox.Message) error {
	if items.InternalDate {
		out.InternalDate = m.date
	}
	if items.Size {
		out.Size = int64(len(m.body))
	}
	if items.Envelope || items.Body || items.BodyStructure {
		return imap.Errorf(imap.CodeCannot, "ENVELOPE and BODYSTRUCTURE are not kept here")
	}
	for i := range items.Sections {
		out.Sections = append(out.Sections, m.section(&items.Sections[i]))
	}
	return nil
}

func (m *message) section(s *imap.Section) mailbox.SectionData {
	if len(s.Part) > 0 {
		return mailbox.SectionData{Missing: true}
	}
	header, text, _ := bytes.Cut(m.body, []byte("\r\n\r\n"))
	data := m.body
	switch s.Kind {
	case imap.SectionHeader:
		data = m.body[:min(len(header)+4, len(m.body))]
	case imap.SectionText:
		data = text
	}
	if s.Partial {
		data = data[min(int(s.Offset), len(data)):]
		data = data[:min(int(s.Count), len(data))]
	}
	return mailbox.SectionData{Size: int64(len(data)), Body: bytes.NewReader(data)}
}

// matchesContent decides the search keys that look into the message.
func (m *message) matchesContent(k *imap.SearchKey) (bool, error) {
	switch k.Op {
	case imap.SearchText, imap.SearchBody:
		return strings.Contains(strings.ToLower(string(m.body)), strings.ToLower(k.Text)), nil
	case imap.SearchHeader:
		needle := strings.ToLower(k.Field + ": ")
		for line := range strings.SplitSeq(strings.ToLower(string(m.body)), "\r\n") {
			if rest, is := strings.CutPrefix(line, needle); is && strings.Contains(rest, strings.ToLower(k.Text)) {
				return true, nil
			}
		}
	}
	return false, nil
}
