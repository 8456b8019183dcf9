package imapclient

import (
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
)

// The functions here each read one untagged response behind its name, and
// report whether it was as it should be.

func (c *Conn) flags(h *Handler) bool {
	var flags []imap.Flag
	if !c.dec.ExpectSP() || !c.dec.ExpectFlagList(&flags) {
		return false
	}
	for i, f := range flags {
		flags[i] = imap.CanonicalFlag(f)
	}
	if h.Flags != nil {
		h.Flags(flags)
	}
	return true
}

// enabledList reads ENABLED. RFC 5161 section 3.2.
func (c *Conn) enabledList() bool {
	for c.dec.SP() {
		var name string
		if !c.dec.ExpectAtom(&name) {
			return false
		}
		if !c.Enabled(name) && len(c.enabled) < maxEnabled {
			c.enabled = append(c.enabled, name)
		}
	}
	return true
}

// vanished reads VANISHED. RFC 7162 section 3.2.10.
func (c *Conn) vanished(h *Handler) bool {
	if !c.dec.ExpectSP() {
		return false
	}
	earlier := c.dec.Special('(')
	if earlier {
		var word string
		if !c.dec.ExpectAtom(&word) || !c.dec.Expect(strings.EqualFold(word, "EARLIER"), "EARLIER") ||
			!c.dec.ExpectSpecial(')') || !c.dec.ExpectSP() {
			return false
		}
	}
	uids, ok := c.ranges()
	if ok && h.Vanished != nil {
		h.Vanished(imap.UIDSetOfRanges(uids...), earlier)
	}
	return ok
}

func (c *Conn) search(h *Handler) bool {
	var found []imap.UID
	var modSeq uint64
	for c.dec.SP() {
		var n uint32
		if c.dec.Special('(') {
			if !c.modSeqItem(&modSeq) {
				return false
			}
			break
		}
		if !c.dec.Number(&n) {
			break // a space at the end
		}
		if n > 0 {
			found = append(found, imap.UID(n))
		}
	}
	if h.Search != nil {
		h.Search(imap.UIDSetOf(found...), imap.ModSeq(modSeq))
	}
	return c.dec.Err() == nil
}

// modSeqItem reads "MODSEQ n)" behind its parenthesis (RFC 7162 section 3.1.5).
func (c *Conn) modSeqItem(n *uint64) bool {
	var name string
	return c.dec.ExpectAtom(&name) && c.dec.Expect(strings.EqualFold(name, "MODSEQ"), "MODSEQ") &&
		c.dec.ExpectSP() && c.dec.ExpectNumber64(n) && c.dec.ExpectSpecial(')')
}

// esearch reads an ESEARCH response. RFC 9051 section 7.3.4.
func (c *Conn) esearch(h *Handler) bool {
	d := c.dec
	var found []imap.Range
	var modSeq uint64
	for first := true; d.SP(); first = false {
		if b, ok := d.PeekByte(); ok && b == '(' && first {
			if _, err := d.RawValue(); err != nil {
				return false
			}
			continue
		}
		var name string
		if !d.ExpectAtom(&name) || !c.esearchItem(strings.ToUpper(name), &found, &modSeq) {
			return false
		}
	}
	if h.Search != nil {
		h.Search(imap.UIDSetOfRanges(found...), imap.ModSeq(modSeq))
	}
	if h.Sort != nil {
		h.Sort(found, imap.ModSeq(modSeq))
	}
	return d.Err() == nil
}

// esearchItem reads the value of an item behind its name.
func (c *Conn) esearchItem(name string, found *[]imap.Range, modSeq *uint64) (ok bool) {
	if name == "UID" {
		return true
	}
	if !c.dec.ExpectSP() {
		return false
	}
	switch name {
	case "ALL":
		*found, ok = c.ranges()
		return ok
	case "MODSEQ":
		return c.dec.ExpectNumber64(modSeq)
	}
	_, err := c.dec.RawValue()
	return c.dec.Expect(err == nil, "value")
}

func (c *Conn) list(h *Handler) bool {
	d := c.dec
	var data ListData
	var delimiter, name string
	var null bool
	if !d.ExpectSP() || d.List(func() error {
		var attr imap.Flag
		d.ExpectFlag(&attr)
		data.Attrs = append(data.Attrs, imap.Attr(attr))
		return d.Err()
	}) != nil || !d.ExpectSP() || !d.ExpectNString(&delimiter, &null) || !d.ExpectSP() || !d.ExpectAString(&name) {
		return false
	}
	if len(delimiter) > 0 {
		data.Delimiter = delimiter[0]
	}
	// A name that is not in the encoding it should be in can't be used anyway.
	utf8, err := imapwire.DecodeName(name)
	if err == nil && h.List != nil {
		data.Name = utf8
		h.List(&data)
	}
	return true
}

func (c *Conn) mailboxStatus(h *Handler) bool {
	d := c.dec
	var status StatusData
	if !d.ExpectSP() || !d.ExpectMailbox(&status.Name) || !d.ExpectSP() {
		return false
	}
	err := d.List(func() error {
		var item string
		var n uint64
		if !d.ExpectAtom(&item) || !d.ExpectSP() {
			return d.Err()
		}
		if strings.EqualFold(item, "MAILBOXID") {
			status.Has |= imap.StatusMailboxID
			c.objectID(&status.MailboxID)
			return d.Err()
		}
		if d.Number64(&n) {
			status.Has |= setStatus(&status.Status, strings.ToUpper(item), n)
			return nil
		}
		_, err := d.RawValue() // of an item that is no number
		return err
	})
	if err != nil {
		return false
	}
	if h.MailboxStatus != nil {
		h.MailboxStatus(&status)
	}
	return true
}

// setStatus takes an item and says which it was.
func setStatus(status *imap.Status, item string, n uint64) imap.StatusItems {
	switch item {
	case "MESSAGES":
		status.Messages = uint32(n)
		return imap.StatusMessages
	case "RECENT":
		status.Recent = uint32(n)
		return imap.StatusRecent
	case "UIDNEXT":
		status.UIDNext = imap.UID(n)
		return imap.StatusUIDNext
	case "UIDVALIDITY":
		status.UIDValidity = uint32(n)
		return imap.StatusUIDValidity
	case "UNSEEN":
		status.Unseen = uint32(n)
		return imap.StatusUnseen
	case "HIGHESTMODSEQ":
		status.HighestModSeq = imap.ModSeq(n)
		return imap.StatusHighestModSeq
	case "SIZE":
		status.Size = n
		return imap.StatusSize
	case "DELETED":
		status.Deleted = uint32(min(n, 1<<32-1))
		return imap.StatusDeleted
	case "APPENDLIMIT":
		status.AppendLimit = n
		return imap.StatusAppendLimit
	case "DELETED-STORAGE":
		status.DeletedStorage = min(n, 1<<53) * 1024
		return imap.StatusDeletedStorage
	}
	return 0
}

// maxMetadataNames bounds the entries that one response tells of.
const maxMetadataNames = 1000

// metadataNames reads a METADATA response without values behind the mailbox.
func (c *Conn) metadataNames(h *Handler, mailbox string) bool {
	names := MetadataNames{Mailbox: mailbox}
	for {
		var entry string
		if !c.dec.ExpectAString(&entry) {
			return false
		}
		if len(names.Entries) < maxMetadataNames {
			names.Entries = append(names.Entries, entry)
		}
		if !c.dec.SP() {
			break
		}
	}
	if h.MetadataChanged != nil {
		h.MetadataChanged(&names)
	}
	return true
}

// metadata reads a METADATA response.
func (c *Conn) metadata(h *Handler) bool {
	d := c.dec
	var data MetadataData
	if !d.ExpectSP() || !d.ExpectMailbox(&data.Mailbox) || !d.ExpectSP() {
		return false
	}
	if b, ok := d.PeekByte(); !ok || b != '(' {
		return d.Err() == nil && c.metadataNames(h, data.Mailbox)
	}
	err := d.List(func() error {
		var e imap.MetadataEntry
		var value string
		var null bool
		if !d.ExpectAString(&e.Name) || !d.ExpectSP() || !d.ExpectNString(&value, &null) {
			return d.Err()
		}
		if !null {
			e.Value = []byte(value)
		}
		data.Entries = append(data.Entries, e)
		return nil
	})
	if err == nil && h.Metadata != nil {
		h.Metadata(&data)
	}
	return err == nil
}

// maxQuotaRoots bounds the roots of one mailbox.
const maxQuotaRoots = 100

func (c *Conn) quotaRoot(h *Handler) bool {
	var name string
	var roots []string
	if !c.dec.ExpectSP() || !c.dec.ExpectMailbox(&name) {
		return false
	}
	for c.dec.SP() {
		var root string
		if !c.dec.AString(&root) {
			break // a space at the end
		}
		if len(roots) < maxQuotaRoots {
			roots = append(roots, root)
		}
	}
	if h.QuotaRoot != nil && c.dec.Err() == nil {
		h.QuotaRoot(roots)
	}
	return c.dec.Err() == nil
}

// quota reads a QUOTA response. STORAGE is in units of 1024 bytes.
func (c *Conn) quota(h *Handler) bool {
	d := c.dec
	var q imap.Quota
	if !d.ExpectSP() || !d.ExpectAString(&q.Root) || !d.ExpectSP() {
		return false
	}
	err := d.List(func() error {
		var name string
		var r imap.QuotaResource
		if !d.ExpectAtom(&name) || !d.ExpectSP() || !d.ExpectNumber64(&r.Usage) || !d.ExpectSP() || !d.ExpectNumber64(&r.Limit) {
			return d.Err()
		}
		switch strings.ToUpper(name) {
		case "STORAGE":
			q.Storage = imap.QuotaResource{Usage: min(r.Usage, 1<<53) * 1024, Limit: min(r.Limit, 1<<53) * 1024}
		case "MESSAGE":
			q.Messages = r
		}
		return nil
	})
	if err == nil && h.Quota != nil {
		h.Quota(&q)
	}
	return err == nil
}

func (c *Conn) acl(h *Handler) bool {
	d := c.dec
	var name string
	var entries []imap.ACLEntry
	if !d.ExpectSP() || !d.ExpectMailbox(&name) {
		return false
	}
	for d.SP() {
		var e imap.ACLEntry
		if !d.ExpectAString(&e.Identifier) || !d.ExpectSP() || !c.rights(&e.Rights) {
			return false
		}
		entries = append(entries, e)
	}
	if h.ACL != nil && d.Err() == nil {
		h.ACL(entries)
	}
	return d.Err() == nil
}

func (c *Conn) myRights(h *Handler) bool {
	var name string
	var rights imap.Rights
	if !c.dec.ExpectSP() || !c.dec.ExpectMailbox(&name) || !c.dec.ExpectSP() || !c.rights(&rights) {
		return false
	}
	if h.MyRights != nil {
		h.MyRights(rights)
	}
	return true
}

func (c *Conn) listRights(h *Handler) bool {
	d := c.dec
	var name, identifier string
	var rights imap.GrantableRights
	if !d.ExpectSP() || !d.ExpectMailbox(&name) || !d.ExpectSP() || !d.ExpectAString(&identifier) ||
		!d.ExpectSP() || !c.rights(&rights.Required) {
		return false
	}
	for d.SP() {
		var r imap.Rights
		if !c.rights(&r) {
			return false
		}
		if r != imap.NoRights { // else c or d alone, or what we do not know
			rights.Optional = append(rights.Optional, r)
		}
	}
	if h.ListRights != nil && d.Err() == nil {
		h.ListRights(rights)
	}
	return d.Err() == nil
}

// rights reads a list of rights. Letters that we do not know mean nothing here.
func (c *Conn) rights(r *imap.Rights) bool {
	var letters string
	if !c.dec.ExpectAString(&letters) {
		return false
	}
	*r = imap.NoRights
	for _, letter := range letters {
		if letter == 'c' || letter == 'd' {
			continue // RFC 4314 section 2.1.1: said where only a part of what they stand for is granted
		}
		if one, err := imap.ParseRights(string(letter)); err == nil {
			*r |= one
		}
	}
	return true
}
