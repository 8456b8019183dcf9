package store

import (
	"context"
	"errors"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// Sort implements mailbox.Mailbox.
func (h *handle) Sort(ctx context.Context, by []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	s := newSearcher(ctx, h)
	defer s.close()
	sorter := message.NewSorter(by)
	needs := sorter.NeedsKeys()
	highest, err := s.find(program, needs, func() error {
		var k *message.Keys
		if needs {
			var err error
			if k, err = s.sortKeys(); err != nil {
				return err
			}
		}
		sorter.Add(s.row.uid, s.row.date.unix(), int64(s.row.size), k)
		return nil
	})
	if err != nil {
		return mailbox.Sorted{}, err
	}
	return mailbox.Sorted{UIDs: sorter.UIDs(), ModSeq: highest}, nil
}

// Thread implements mailbox.Mailbox.
func (h *handle) Thread(ctx context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	s := newSearcher(ctx, h)
	defer s.close()
	threader := message.NewThreader(alg)
	_, err := s.find(program, true, func() error {
		k, err := s.sortKeys()
		if err == nil {
			threader.Add(s.row.uid, s.row.date.unix(), k)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return threader.Threads(), nil
}

// sortKeys are the keys of s.row, valid until the next call. A message that is
// damaged, or went away just now, is there all the same, with nothing known of it.
func (s *searcher) sortKeys() (*message.Keys, error) {
	if d := s.digests.find(s.row); d != nil && d.Keys(&s.keys) {
		return &s.keys, nil
	}
	err := s.readKeys()
	switch {
	case errors.Is(err, errExpunged):
	case imap.CodeOf(err) == imap.CodeCorruption:
		s.contents.report(s.row, err)
	case err != nil:
		return nil, err
	default:
		return &s.keys, nil
	}
	s.keys = message.Keys{}
	return &s.keys, nil
}

// readKeys finds the keys in the log, or in the message's header if its digest
// is older than they are.
func (s *searcher) readKeys() (err error) {
	if s.content == nil {
		if s.content, err = s.contents.openRow(s.row); err != nil {
			return err
		}
		s.header = nil
	}
	if s.content.digest.Keys(&s.keys) {
		return nil
	}
	root := &s.content.digest.Parts[0]
	header, err := s.content.header(root.HeaderOff, root.HeaderLen)
	if err != nil {
		return err
	}
	message.ScanBytes(header).Keys(&s.keys)
	return nil
}
