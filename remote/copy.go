package remote

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

func (b *box) Copy(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	if uids.Empty() {
		return imap.CopyData{}, b.usable()
	}
	t, err := b.trace(ctx, uids, dest)
	if err != nil {
		return imap.CopyData{}, err
	}
	var data imap.CopyData
	err = b.do(ctx, false, func(c *imapclient.Conn) (err error) {
		data, err = b.transfer(ctx, c, "COPY", uids, dest)
		return err
	})
	if errors.Is(err, errUnknown) {
		if found, ok := t.found(ctx, b.account, dest); ok {
			return found, nil
		}
	}
	return data, b.intoRefusal(ctx, err)
}

// Move copies and removes where the peer has no MOVE. If the removal fails
// then, the copies stay: better twice than not at all.
func (b *box) Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	if err := b.writable(); err != nil || uids.Empty() {
		return imap.CopyData{}, err
	}
	var data imap.CopyData
	whole := false
	t, err := b.trace(ctx, uids, dest)
	if err != nil {
		return imap.CopyData{}, err
	}
	err = b.do(ctx, false, func(c *imapclient.Conn) (err error) {
		verb := "COPY"
		if whole = c.Has("MOVE"); whole {
			verb = "MOVE"
		}
		data, err = b.transfer(ctx, c, verb, uids, dest)
		return err
	})
	if whole && errors.Is(err, errUnknown) {
		if found, ok := t.found(ctx, b.account, dest); ok {
			return found, nil // it is one step: the sources are gone
		}
	}
	if err == nil && !whole {
		err = mailbox.Remove(ctx, b, uids)
	}
	return data, b.intoRefusal(ctx, err)
}

// intoRefusal finds out which of the two mailboxes is the one that is missing.
func (b *box) intoRefusal(ctx context.Context, err error) error {
	if imap.CodeOf(err) != imap.CodeNonExistent {
		return err
	}
	b.refresh(ctx, true)
	if gone := b.usable(); gone != nil {
		return gone
	}
	return intoRefusal(err)
}

// transfer is COPY or MOVE. COPYUID comes in the tagged response of the one,
// and in an untagged one of the other (RFC 6851 section 4.3).
func (b *box) transfer(ctx context.Context, c *imapclient.Conn, verb string, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	peer, err := b.link.toPeer(dest)
	if err != nil {
		return imap.CopyData{}, err
	}
	if len(uids) > maxRanges {
		return imap.CopyData{}, imap.Errorf(imap.CodeLimit, "Too many separate messages at once")
	}
	var data imap.CopyData
	h := &imapclient.Handler{Status: func(s *imapclient.Status) {
		b.onStatus(s)
		noteCopy(&data, s)
	}}
	status, err := c.Do(ctx, h, func(e *imapwire.Encoder) {
		e.RawString("UID ").Atom(verb).SP().AppendFunc(uids.AppendTo).SP().Mailbox(peer)
	})
	if err != nil {
		return imap.CopyData{}, err
	}
	b.onStatus(status)
	noteCopy(&data, status)
	return data, nil
}

// noteCopy takes down a COPYUID (RFC 4315 section 3).
func noteCopy(data *imap.CopyData, status *imapclient.Status) {
	words := strings.Fields(status.Args)
	if status.Code != "COPYUID" || len(words) != 3 {
		return
	}
	validity, err := strconv.ParseUint(words[0], 10, 32)
	source, errSource := imap.ParseNumSet(words[1])
	dest, errDest := imap.ParseNumSet(words[2])
	if err != nil || errSource != nil || errDest != nil {
		return
	}
	*data = imap.CopyData{UIDValidity: uint32(validity), Source: source.Resolve(0), Dest: dest.Resolve(0)}
}

func (b *box) Expunge(ctx context.Context, uids imap.UIDSet, all bool) error {
	if err := b.writable(); err != nil {
		return err
	}
	if all {
		return b.run(ctx, command("EXPUNGE"))
	}
	for part := range chunks(uids) {
		if err := b.expunge(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (b *box) run(ctx context.Context, build func(*imapwire.Encoder)) error {
	return b.do(ctx, true, func(c *imapclient.Conn) error {
		status, err := c.Do(ctx, nil, build)
		if err == nil {
			b.onStatus(status) // HIGHESTMODSEQ, RFC 7162 section 3.2.7
		}
		return err
	})
}

// expunge removes just uids. A peer without UIDPLUS can only remove all that
// is marked, so that the marks of others are taken off meanwhile.
func (b *box) expunge(ctx context.Context, uids imap.UIDSet) error {
	uidPlus := false
	err := b.do(ctx, true, func(c *imapclient.Conn) error {
		if uidPlus = c.Has("UIDPLUS"); !uidPlus {
			return nil
		}
		status, err := c.Do(ctx, nil, func(e *imapwire.Encoder) { e.RawString("UID EXPUNGE ").AppendFunc(uids.AppendTo) })
		if err == nil {
			b.onStatus(status)
		}
		return err
	})
	if err != nil || uidPlus {
		return err
	}
	found, err := b.Search(ctx, &imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagDeleted})
	if err != nil {
		return err
	}
	spared := found.UIDs.Minus(uids)
	change := mailbox.FlagChange{Op: mailbox.FlagsRemove, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if _, err := b.Store(ctx, spared, change, nil); err != nil {
		return err
	}
	err = b.run(ctx, command("EXPUNGE"))
	change.Op = mailbox.FlagsAdd
	if _, again := b.Store(context.WithoutCancel(ctx), spared, change, nil); err == nil {
		err = again
	}
	return err
}
