package remote

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
	rfc "github.com/roost-mail/roost/message"
)

// Sort has the peer sort, if it can sort by these keys and one command can say of what;
// otherwise it searches there and sorts here.
func (b *box) Sort(ctx context.Context, keys []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	program, err := b.dated(ctx, program)
	if err != nil {
		return mailbox.Sorted{}, err
	}
	var ranges []imap.Range
	var modSeq imap.ModSeq
	h := &imapclient.Handler{Sort: func(r []imap.Range, m imap.ModSeq) { ranges, modSeq = r, m }}
	able := false
	err = b.do(ctx, true, func(c *imapclient.Conn) error {
		if able = canSort(c, keys) && short(program); !able {
			return nil
		}
		_, err := c.Do(ctx, h, func(e *imapwire.Encoder) {
			e.RawString("UID SORT ")
			if c.Has("ESORT") {
				e.RawString("RETURN (ALL) ")
			}
			writeSortKeys(e, keys)
			e.RawString(" UTF-8 ")
			writeProgram(e, forPeer(program, c))
		})
		return err
	})
	if err != nil || able {
		return mailbox.Sorted{UIDs: b.inOrder(ranges), ModSeq: modSeq}, err
	}
	return b.sortHere(ctx, keys, program)
}

func canSort(c *imapclient.Conn, keys []imap.SortKey) bool {
	display := slices.ContainsFunc(keys, func(k imap.SortKey) bool {
		return k.Field == imap.SortDisplayFrom || k.Field == imap.SortDisplayTo
	})
	return c.Has("SORT") && (!display || c.Has("SORT=DISPLAY"))
}

func writeSortKeys(e *imapwire.Encoder, keys []imap.SortKey) {
	e.Special('(')
	for i, k := range keys {
		if i > 0 {
			e.SP()
		}
		if k.Reverse {
			e.RawString("REVERSE ")
		}
		e.RawString(k.Field.String())
	}
	e.Special(')')
}

// inOrder are the messages of ranges, in their order, that the peer has told of:
// no more than there are, whatever the peer makes of it.
func (b *box) inOrder(ranges []imap.Range) []imap.UID {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages := b.state.messages
	var uids []imap.UID
	for _, r := range ranges {
		i, _ := slices.BinarySearchFunc(messages, imap.UID(r.Start), compareUID)
		for ; i < len(messages) && messages[i].uid <= imap.UID(r.Stop) && len(uids) < len(messages); i++ {
			uids = append(uids, messages[i].uid)
		}
	}
	return uids
}

// Thread has the peer find threads, if it knows the algorithm and one command can say of
// what; otherwise it searches there and finds them here.
func (b *box) Thread(ctx context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	program, err := b.dated(ctx, program)
	if err != nil {
		return nil, err
	}
	var list []imap.ThreadMember
	h := &imapclient.Handler{Thread: func(l []imap.ThreadMember) { list = l }}
	able := false
	err = b.do(ctx, true, func(c *imapclient.Conn) error {
		if able = c.Has("THREAD="+string(alg)) && short(program); !able {
			return nil
		}
		_, err := c.Do(ctx, h, func(e *imapwire.Encoder) {
			e.RawString("UID THREAD ").RawString(string(alg)).RawString(" UTF-8 ")
			writeProgram(e, forPeer(program, c))
		})
		return err
	})
	if err != nil || able {
		return list, err
	}
	return b.threadHere(ctx, alg, program)
}

func (b *box) sortHere(ctx context.Context, keys []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	found, err := b.Search(ctx, program)
	if err != nil {
		return mailbox.Sorted{}, err
	}
	sorter := rfc.NewSorter(keys)
	err = b.fetchKeys(ctx, found.UIDs, func(m *mailbox.Message, k *rfc.Keys) {
		sorter.Add(m.UID, m.InternalDate.Unix(), m.Size, k)
	})
	return mailbox.Sorted{UIDs: sorter.UIDs(), ModSeq: found.ModSeq}, err
}

func (b *box) threadHere(ctx context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	found, err := b.Search(ctx, program)
	if err != nil {
		return nil, err
	}
	threader := rfc.NewThreader(alg)
	err = b.fetchKeys(ctx, found.UIDs, func(m *mailbox.Message, k *rfc.Keys) {
		threader.Add(m.UID, m.InternalDate.Unix(), k)
	})
	return threader.Threads(), err
}

// fetchKeys asks for what is sorted by, in order of UID.
func (b *box) fetchKeys(ctx context.Context, uids imap.UIDSet, f func(*mailbox.Message, *rfc.Keys)) error {
	items := &imap.FetchItems{
		InternalDate: true, Size: true, Envelope: true,
		Sections: []imap.Section{{Kind: imap.SectionHeaderFields, Fields: []string{"References"}}},
	}
	return b.Fetch(ctx, uids, items, func(m *mailbox.Message) error {
		var header, references []byte
		if s := &m.Sections[0]; !s.Missing && s.Body != nil {
			var err error
			if header, err = io.ReadAll(io.LimitReader(s.Body, maxHeld)); err != nil {
				return err
			}
		}
		for field := range rfc.Fields(header) {
			references = field.Value
			break // the first counts
		}
		f(m, rfc.NewKeys(m.Envelope, references))
		return nil
	})
}

// dated puts the messages in the place of YOUNGER and OLDER where the peer
// does not know those. RFC 5032.
func (b *box) dated(ctx context.Context, program *imap.SearchKey) (*imap.SearchKey, error) {
	if !program.Has(imap.SearchYounger) && !program.Has(imap.SearchOlder) {
		return program, nil
	}
	able := false
	err := b.do(ctx, true, func(c *imapclient.Conn) error {
		able = c.Has("WITHIN")
		return nil
	})
	if err != nil || able {
		return program, err
	}
	dates := map[imap.UID]time.Time{}
	err = b.Fetch(ctx, imap.UIDRange(1, 1<<32-1), &imap.FetchItems{InternalDate: true}, func(m *mailbox.Message) error {
		dates[m.UID] = m.InternalDate
		return nil
	})
	named := nameUIDs(program, dates, time.Now())
	return &named, err
}

// nameUIDs is program with the UIDs of those of dates that YOUNGER and OLDER
// match in their place.
func nameUIDs(k *imap.SearchKey, dates map[imap.UID]time.Time, now time.Time) imap.SearchKey {
	out := *k
	if k.Op == imap.SearchYounger || k.Op == imap.SearchOlder {
		target := now.Add(-time.Duration(k.Size) * time.Second)
		var uids []imap.UID
		for uid, date := range dates {
			if k.Op == imap.SearchYounger && !date.Before(target) || k.Op == imap.SearchOlder && !date.After(target) {
				uids = append(uids, uid)
			}
		}
		return imap.SearchKey{Op: imap.SearchUIDs, UIDs: imap.UIDSetOf(uids...)}
	}
	out.Keys = make([]imap.SearchKey, len(k.Keys))
	for i := range k.Keys {
		out.Keys[i] = nameUIDs(&k.Keys[i], dates, now)
	}
	return out
}
