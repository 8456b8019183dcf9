package imapserver

import (
	"crypto/sha256"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// ownMetadata is what annotations this session has set, of which it is not told
// (RFC 5465 section 5): by sums of their values, since news of it may come late,
// and together with what others did to the same.
type ownMetadata map[mailbox.MetadataChange]metadataSum

// maxOwnMetadata bounds what is remembered. Beyond it a session may be told of its
// own changes, which is a nuisance only.
const maxOwnMetadata = 4 * mailbox.MaxMetadataChanges

// metadataSum is of a value, zero for none.
type metadataSum [sha256.Size]byte

func sumMetadata(value []byte) metadataSum {
	if value == nil {
		return metadataSum{}
	}
	return sha256.Sum256(value)
}

// acceptMetadata takes what this session has set as told.
func (s *session) acceptMetadata(name string, entries []imap.MetadataEntry) {
	n := s.notify
	if n == nil || n.all&metadataEvents == 0 {
		return
	}
	if n.own == nil || len(n.own) > maxOwnMetadata {
		n.own = ownMetadata{}
	}
	for _, e := range entries {
		n.own[mailbox.MetadataChange{Mailbox: name, Entry: e.Name}] = sumMetadata(e.Value)
	}
}

// notifyMetadata tells which annotations have changed. RFC 5465 sections 5.6 and 5.7.
func (s *session) notifyMetadata(n *notification) {
	all, err := n.observer.MetadataChanges(s.ctx)
	if err != nil {
		s.logger().Debug("changes of metadata are not all known", "error", err)
	}
	if imap.CodeOf(err) == imap.CodeLimit && n.all&metadataEvents != 0 {
		s.overflow()
		return
	}
	for len(all) > 0 {
		name := all[0].Mailbox
		of := 1
		for of < len(all) && all[of].Mailbox == name {
			of++
		}
		if s.wantsMetadata(n, name) {
			s.writeMetadataNames(name, s.notOwn(n, all[:of]))
		}
		all = all[of:]
	}
}

func (s *session) wantsMetadata(n *notification, name string) bool {
	if name == "" {
		return n.all&eventServerMetadataChange != 0
	}
	return s.wanted(n, name)&eventMailboxMetadataChange != 0
}

// notOwn leaves out the entries of a mailbox that still are as this session set them.
func (s *session) notOwn(n *notification, changes []mailbox.MetadataChange) []string {
	q := &imap.MetadataQuery{MaxSize: -1}
	var entries []string
	for _, c := range changes {
		entries = append(entries, c.Entry)
		if _, own := n.own[c]; own {
			q.Names = append(q.Names, c.Entry)
		}
	}
	if len(q.Names) == 0 {
		return entries
	}
	m, err := s.metadata()
	if err != nil {
		return entries
	}
	found, err := m.GetMetadata(s.ctx, changes[0].Mailbox, q)
	if err != nil {
		return entries // perhaps once too often
	}
	now := map[string]metadataSum{}
	for _, e := range found.Entries {
		now[e.Name] = sumMetadata(e.Value)
	}
	return slices.DeleteFunc(entries, func(entry string) bool {
		c := mailbox.MetadataChange{Mailbox: changes[0].Mailbox, Entry: entry}
		sum, own := n.own[c]
		if !own || sum == now[entry] {
			return own
		}
		delete(n.own, c)
		return false
	})
}

// writeMetadataNames writes METADATA responses without values. RFC 5464 section 4.4.2.
func (s *session) writeMetadataNames(name string, entries []string) {
	for part := range slices.Chunk(entries, maxNamesAtOnce) {
		s.enc.RawString("* METADATA ").Mailbox(name)
		for _, entry := range part {
			s.enc.SP().AString(entry)
		}
		s.enc.CRLF()
	}
}

// maxNamesAtOnce is how many entries a METADATA response names: clients limit lines.
const maxNamesAtOnce = 30

// overflow ends all notification. RFC 5465 section 5.8.
func (s *session) overflow() {
	s.endNotify()
	s.notify = &notification{stop: func() {}}
	s.enc.RawString("* OK ").Code("NOTIFICATIONOVERFLOW", "").Text("Too much has changed; nothing more is told.").CRLF()
}
