package imapserver

import (
	"context"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// maxMetadataNames bounds the entries that one command names.
const maxMetadataNames = 1000

// metadata is the account's side of annotations.
func (s *session) metadata() (mailbox.Metadata, error) {
	m, ok := s.account().(mailbox.Metadata)
	if !ok {
		return nil, imap.Errorf(imap.CodeCannot, "Metadata are not in use here")
	}
	return m, nil
}

// getMetadata is GETMETADATA. RFC 5464 section 4.2.
func (s *session) getMetadata(ctx context.Context, cmd *command) error {
	q, err := s.parseGetMetadata(cmd)
	if err != nil {
		return err
	}
	m, err := s.metadata()
	if err != nil {
		return err
	}
	found, err := m.GetMetadata(ctx, cmd.mailbox, q)
	if err != nil {
		return err
	}
	s.writeMetadata(cmd.mailbox, found.Entries)
	if found.Longest > 0 {
		cmd.code, cmd.args = "METADATA", "LONGENTRIES "+strconv.FormatInt(found.Longest, 10)
	}
	return nil
}

// parseGetMetadata takes options before the mailbox name, as the grammar says,
// and behind it, as the examples do.
func (s *session) parseGetMetadata(cmd *command) (*imap.MetadataQuery, error) {
	q := &imap.MetadataQuery{MaxSize: -1}
	if !s.dec.ExpectSP() {
		return nil, s.dec.Err()
	}
	if b, ok := s.dec.PeekByte(); ok && b == '(' {
		words, err := s.metadataWords()
		if err == nil {
			err = metadataOptions(q, words)
		}
		if err != nil || !s.dec.ExpectSP() {
			return nil, firstError(err, s.dec.Err())
		}
	}
	if !s.dec.ExpectMailbox(&cmd.mailbox) || !s.dec.ExpectSP() {
		return nil, s.dec.Err()
	}
	words, err := s.metadataWords()
	if err == nil && len(words) > 0 && !strings.HasPrefix(words[0], "/") {
		if err = metadataOptions(q, words); err == nil && s.dec.ExpectSP() {
			words, err = s.metadataWords()
		}
	}
	if err != nil || !s.dec.ExpectCRLF() {
		return nil, firstError(err, s.dec.Err())
	}
	for _, word := range words {
		name, err := imap.CheckMetadataName(word)
		if err != nil {
			return nil, err
		}
		q.Names = append(q.Names, name)
	}
	if len(q.Names) == 0 {
		return nil, imap.BadCommand("No entries are named")
	}
	return q, nil
}

func firstError(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// metadataWords reads a word, or several in parentheses.
func (s *session) metadataWords() (words []string, err error) {
	one := func() error {
		var word string
		if !s.dec.ExpectAString(&word) {
			return s.dec.Err()
		}
		if len(words) == maxMetadataNames {
			return imap.Errorf(imap.CodeLimit, "Too many entries in one command")
		}
		words = append(words, word)
		return nil
	}
	if b, ok := s.dec.PeekByte(); ok && b == '(' {
		err = s.dec.List(one)
	} else {
		err = one()
	}
	return words, err
}

// metadataOptions reads the options of GETMETADATA. RFC 5464 sections 4.2.1 and 4.2.2.
func metadataOptions(q *imap.MetadataQuery, words []string) error {
	for i := 0; i < len(words); i += 2 {
		option, value := strings.ToUpper(words[i]), ""
		if i+1 < len(words) {
			value = strings.ToLower(words[i+1])
		}
		switch {
		case option == "MAXSIZE":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return imap.BadCommand("Invalid MAXSIZE")
			}
			q.MaxSize = int64(n)
		case option == "DEPTH" && value == "infinity":
			q.Depth = imap.MetadataDepthAll
		case option == "DEPTH" && (value == "0" || value == "1"):
			q.Depth = int(value[0] - '0')
		default:
			return imap.BadCommand("Unknown option %.40s", option)
		}
	}
	return nil
}

// metadataPart is after how many bytes another METADATA response is begun.
const metadataPart = 64 << 10

// writeMetadata writes METADATA responses. RFC 5464 section 4.4.1.
func (s *session) writeMetadata(name string, entries []imap.MetadataEntry) {
	for i := 0; i < len(entries); {
		s.enc.RawString("* METADATA ").Mailbox(name).SP()
		sep := byte('(')
		for size := 0; i < len(entries) && size < metadataPart; i++ {
			e := &entries[i]
			s.enc.Special(sep).AString(e.Name).SP().Value(e.Value)
			sep = ' '
			size += len(e.Name) + len(e.Value)
		}
		s.enc.RawString(")").CRLF()
	}
}

// setMetadata is SETMETADATA. RFC 5464 section 4.3.
func (s *session) setMetadata(ctx context.Context, cmd *command) error {
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) || !s.dec.ExpectSP() {
		return s.dec.Err()
	}
	var entries []imap.MetadataEntry
	err := s.dec.List(func() error {
		e, err := s.parseMetadataEntry()
		if err == nil && len(entries) == maxMetadataNames {
			err = imap.Errorf(imap.CodeLimit, "Too many entries in one command")
		}
		entries = append(entries, e)
		return err
	})
	if err != nil || !s.dec.ExpectCRLF() {
		return firstError(err, s.dec.Err())
	}
	if len(entries) == 0 {
		return imap.BadCommand("No entries are named")
	}
	m, err := s.metadata()
	if err != nil {
		return err
	}
	if err := m.SetMetadata(ctx, cmd.mailbox, entries); err != nil {
		return err
	}
	s.acceptMetadata(cmd.mailbox, entries)
	return nil
}

func (s *session) parseMetadataEntry() (e imap.MetadataEntry, err error) {
	var value string
	var null bool
	if !s.dec.ExpectAString(&e.Name) || !s.dec.ExpectSP() || !s.dec.ExpectNString(&value, &null) {
		return e, s.dec.Err()
	}
	if e.Name, err = imap.CheckMetadataName(e.Name); err == nil && strings.Count(e.Name, "/") < 2 {
		err = imap.BadCommand("Invalid entry name")
	}
	if !null {
		e.Value = []byte(value)
	}
	return e, err
}
