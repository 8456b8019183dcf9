package store

import (
	"context"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Expire expunges what is in a mailbox since before a time, whatever its flags,
// and the oldest messages beyond most, if that is not 0. It returns how many
// went. They can be brought back as other expunged messages. Durable on return.
func (s *Session) Expire(ctx context.Context, name string, before time.Time, most int) (count int, err error) {
	err = s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		m, err := b.box(name, imap.NoMailbox)
		if err != nil {
			return err
		}
		surplus := 0
		if most > 0 {
			surplus = len(m.rows) - most
		}
		var gone []imap.UID
		for i := range m.rows {
			if r := &m.rows[i]; i < surplus || int64(r.saved) < before.Unix() {
				gone = append(gone, imap.UID(r.uid))
			}
		}
		if count = len(gone); count > 0 {
			b.add(&recExpunge{box: m.id, modseq: b.modseq(), uids: imap.UIDSetOf(gone...), kept: b.keptTime()})
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return count, nil
}
