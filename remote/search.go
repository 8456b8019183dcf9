package remote

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

func (b *box) Search(ctx context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	program, err := b.dated(ctx, program)
	if err != nil {
		return mailbox.Found{}, err
	}
	parts := cut(program)
	var found mailbox.Found
	h := &imapclient.Handler{Search: func(uids imap.UIDSet, modSeq imap.ModSeq) {
		found.UIDs, found.ModSeq = found.UIDs.Union(uids), max(found.ModSeq, modSeq)
	}}
	err = b.do(ctx, true, func(c *imapclient.Conn) error {
		found = mailbox.Found{}
		for i := range parts {
			if _, err := c.Do(ctx, h, func(e *imapwire.Encoder) { writeSearch(e, forPeer(&parts[i], c), c.Has("ESEARCH")) }); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

func writeSearch(e *imapwire.Encoder, program *imap.SearchKey, extended bool) {
	e.RawString("UID SEARCH ")
	if extended {
		e.RawString("RETURN (ALL) ")
	}
	if !plain(program) {
		e.RawString("CHARSET UTF-8 ")
	}
	writeProgram(e, program)
}

// short says whether one command can name all UIDs of a program.
func short(program *imap.SearchKey) bool { return len(starts(nil, program)) <= maxRanges }

// starts appends where the ranges of UIDs begin that a program names.
func starts(list []uint32, k *imap.SearchKey) []uint32 {
	if k.Op == imap.SearchUIDs {
		for _, r := range k.UIDs {
			list = append(list, r.Start)
		}
	}
	for i := range k.Keys {
		list = starts(list, &k.Keys[i])
	}
	return list
}

// cut parts a program that names more UIDs than one command can into several, each for the
// messages between two UIDs: whether one of them matches depends only on what the
// program's sets have there.
func cut(program *imap.SearchKey) (parts []imap.SearchKey) {
	all := slices.Sorted(slices.Values(starts(nil, program)))
	if len(all) <= maxRanges {
		return []imap.SearchKey{*program}
	}
	from := imap.UID(1)
	for at := maxRanges; from > 0; at += maxRanges {
		to, next := imap.UID(1<<32-1), imap.UID(0)
		if at < len(all) {
			to, next = imap.UID(max(all[at], 2)-1), imap.UID(max(all[at], 2))
		}
		between := imap.UIDRange(from, to)
		parts = append(parts, imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{
			{Op: imap.SearchUIDs, UIDs: between}, within(program, between),
		}})
		from = next
	}
	return parts
}

// within is a program whose sets have no UIDs but some.
func within(k *imap.SearchKey, uids imap.UIDSet) imap.SearchKey {
	out := *k
	out.UIDs, out.Keys = k.UIDs.Intersect(uids), make([]imap.SearchKey, len(k.Keys))
	for i := range k.Keys {
		out.Keys[i] = within(&k.Keys[i], uids)
	}
	return out
}

// forPeer is the program without the keys that a peer does not know. No message
// there has an object ID, and internal dates stand in for save dates (RFC 8514
// section 4.3).
func forPeer(k *imap.SearchKey, c *imapclient.Conn) *imap.SearchKey {
	objectIDs, saveDates := c.Has("OBJECTID"), c.Has("SAVEDATE")
	if objectIDs && saveDates {
		return k
	}
	out := *k
	switch k.Op {
	case imap.SearchEmailID, imap.SearchThreadID:
		if !objectIDs {
			out = imap.SearchKey{Op: imap.SearchOr}
		}
	case imap.SearchSaveDateSupported:
		if !saveDates {
			out = imap.SearchKey{Op: imap.SearchOr}
		}
	case imap.SearchSavedBefore, imap.SearchSavedOn, imap.SearchSavedSince:
		if !saveDates {
			out.Op = imap.SearchBefore + (k.Op - imap.SearchSavedBefore)
		}
	}
	out.Keys = make([]imap.SearchKey, len(k.Keys))
	for i := range k.Keys {
		out.Keys[i] = *forPeer(&k.Keys[i], c)
	}
	return &out
}

// writeProgram writes a program as the search keys of a command.
func writeProgram(e *imapwire.Encoder, program *imap.SearchKey) {
	if program.Op != imap.SearchAnd || len(program.Keys) == 0 {
		writeKey(e, program)
		return
	}
	for i := range program.Keys {
		if i > 0 {
			e.SP()
		}
		writeKey(e, &program.Keys[i])
	}
}

// plain reports whether all texts are ASCII.
func plain(k *imap.SearchKey) bool {
	for i := range k.Keys {
		if !plain(&k.Keys[i]) {
			return false
		}
	}
	return isASCII(k.Text) && isASCII(k.Field)
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// flagKeys are the system flags that have keys of their own (RFC 9051 section 6.4.4).
var flagKeys = map[imap.Flag]string{
	imap.FlagSeen: "SEEN", imap.FlagAnswered: "ANSWERED", imap.FlagFlagged: "FLAGGED",
	imap.FlagDeleted: "DELETED", imap.FlagDraft: "DRAFT",
}

// headerKeys are the fields that have keys of their own.
var headerKeys = map[string]bool{"FROM": true, "TO": true, "CC": true, "BCC": true, "SUBJECT": true}

// writeKey writes a program as one search key.
func writeKey(e *imapwire.Encoder, k *imap.SearchKey) {
	switch k.Op {
	case imap.SearchAnd:
		writeAnd(e, k.Keys)
	case imap.SearchOr:
		writeOr(e, k.Keys)
	case imap.SearchNot:
		e.RawString("NOT ")
		writeKey(e, &k.Keys[0])
	case imap.SearchUIDs:
		if k.UIDs.Empty() {
			e.RawString("UID 4294967295")
			return
		}
		e.RawString("UID ").AppendFunc(k.UIDs.AppendTo)
	case imap.SearchFlag:
		writeFlagKey(e, k.Flag)
	case imap.SearchHeader:
		writeHeaderKey(e, k)
	case imap.SearchModSeq:
		e.RawString("MODSEQ ").Number64(uint64(k.ModSeq))
	case imap.SearchBody:
		e.RawString("BODY ").String(k.Text)
	case imap.SearchText:
		e.RawString("TEXT ").String(k.Text)
	case imap.SearchEmailID:
		e.RawString("EMAILID ").Atom(k.Text)
	case imap.SearchThreadID:
		e.RawString("THREADID ").Atom(k.Text)
	case imap.SearchSaveDateSupported:
		e.RawString("SAVEDATESUPPORTED")
	default:
		writeNumberKey(e, k)
	}
}

// writeNumberKey writes the keys whose argument is a number or a date.
func writeNumberKey(e *imapwire.Encoder, k *imap.SearchKey) {
	switch k.Op {
	case imap.SearchLarger:
		e.RawString("LARGER ").Number(k.Size)
	case imap.SearchYounger:
		e.RawString("YOUNGER ").Number(k.Size)
	case imap.SearchOlder:
		e.RawString("OLDER ").Number(k.Size)
	case imap.SearchSmaller:
		e.RawString("SMALLER ").Number(k.Size)
	case imap.SearchBefore:
		e.RawString("BEFORE ").Date(k.Date)
	case imap.SearchOn:
		e.RawString("ON ").Date(k.Date)
	case imap.SearchSince:
		e.RawString("SINCE ").Date(k.Date)
	case imap.SearchSentBefore:
		e.RawString("SENTBEFORE ").Date(k.Date)
	case imap.SearchSentOn:
		e.RawString("SENTON ").Date(k.Date)
	case imap.SearchSentSince:
		e.RawString("SENTSINCE ").Date(k.Date)
	case imap.SearchSavedBefore:
		e.RawString("SAVEDBEFORE ").Date(k.Date)
	case imap.SearchSavedOn:
		e.RawString("SAVEDON ").Date(k.Date)
	case imap.SearchSavedSince:
		e.RawString("SAVEDSINCE ").Date(k.Date)
	default:
		e.RawString("ALL")
	}
}

func writeAnd(e *imapwire.Encoder, keys []imap.SearchKey) {
	switch len(keys) {
	case 0:
		e.RawString("ALL")
		return
	case 1:
		writeKey(e, &keys[0])
		return
	}
	e.Special('(')
	for i := range keys {
		if i > 0 {
			e.SP()
		}
		writeKey(e, &keys[i])
	}
	e.Special(')')
}

// writeOr halves the list, because peers limit how deep ORs nest.
func writeOr(e *imapwire.Encoder, keys []imap.SearchKey) {
	switch len(keys) {
	case 0:
		e.RawString("NOT ALL")
	case 1:
		writeKey(e, &keys[0])
	default:
		e.RawString("OR ")
		writeOr(e, keys[:len(keys)/2])
		e.SP()
		writeOr(e, keys[len(keys)/2:])
	}
}

func writeFlagKey(e *imapwire.Encoder, f imap.Flag) {
	if key, ok := flagKeys[imap.CanonicalFlag(f)]; ok {
		e.RawString(key)
		return
	}
	e.RawString("KEYWORD ").Flag(f)
}

func writeHeaderKey(e *imapwire.Encoder, k *imap.SearchKey) {
	if field := strings.ToUpper(k.Field); headerKeys[field] && k.Text != "" {
		e.RawString(field).SP().String(k.Text)
		return
	}
	e.RawString("HEADER ").AString(k.Field).SP().String(k.Text)
}
