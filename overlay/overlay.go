// Package overlay gives a reader of another owner's mail flags of their own, where the server
// that it lives on can't keep them: they are kept with the reader's own mail, as marks.
//
// An Account wraps the owner's mail, which must neither show nor change the flags that are
// the reader's. Whatever a command says of those is answered and done here, all else passes
// on. What the server knows of these flags is never looked at.
//
// Modification sequences of two homes can't be put in one order, so that mailboxes have none.
package overlay

import (
	"context"
	"io"
	"log/slog"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Home is the owner's mail with the reader's rights.
type Home = mailbox.Complete

// Keeper is the reader's own mail.
type Keeper interface {
	mailbox.MarkKeeper
	io.Closer
}

// Config says whose flags are laid over whose mail.
type Config struct {
	Home    Home
	Account string       // names the owner's mail in the reader's
	Flags   []imap.Flag  // that are the reader's own; not \Deleted
	Log     *slog.Logger // of what could not be kept; nothing

	// Keep opens the reader's own mail. It is called once, when it is needed.
	Keep func(ctx context.Context) (Keeper, error)
}

// Account is an owner's mail with the reader's own flags. Like every Account it is for one
// goroutine at a time.
type Account struct {
	Home
	cfg    Config
	keeper Keeper // nil until it is needed
	seen   bool   // \Seen is among the flags
	noIDs  bool   // the home's mailboxes have none
}

var (
	_ Home               = (*Account)(nil)
	_ mailbox.Mailbox    = (*box)(nil)
	_ mailbox.Prefetcher = (*box)(nil)
)

// New makes an Account. It opens nothing yet.
func New(cfg Config) *Account {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Account{Home: cfg.Home, cfg: cfg, seen: imap.HasFlag(cfg.Flags, imap.FlagSeen)}
}

func (a *Account) keep(ctx context.Context) (Keeper, error) {
	if a.keeper == nil {
		k, err := a.cfg.Keep(ctx)
		if err != nil {
			return nil, err
		}
		a.keeper = k
	}
	return a.keeper, nil
}

// key is what the reader's own flags in a mailbox are kept by.
func (a *Account) key(name string, id imap.ObjectID) mailbox.MarkedBox {
	if a.noIDs = id == ""; a.noIDs {
		return mailbox.MarkedBox{Account: a.cfg.Account, Name: name}
	}
	return mailbox.MarkedBox{Account: a.cfg.Account, ID: id}
}

// find asks for the ID of a mailbox.
func (a *Account) find(ctx context.Context, name string) (mailbox.MarkedBox, error) {
	if a.noIDs {
		return a.key(name, ""), nil
	}
	s, err := a.Home.Status(ctx, name, imap.StatusMailboxID)
	if err != nil {
		return mailbox.MarkedBox{}, err
	}
	return a.key(name, s.MailboxID), nil
}

// Close closes both.
func (a *Account) Close() error {
	err := a.Home.Close()
	if a.keeper != nil {
		if failed := a.keeper.Close(); err == nil {
			err = failed
		}
	}
	return err
}

// split parts flags into the reader's own and others.
func (a *Account) split(flags []imap.Flag) (own, others []imap.Flag) {
	for _, f := range flags {
		if imap.HasFlag(a.cfg.Flags, f) {
			own = append(own, f)
		} else {
			others = append(others, f)
		}
	}
	return own, others
}

// Rename has the flags follow that are kept by name.
func (a *Account) Rename(ctx context.Context, from, to string) error {
	if err := a.Home.Rename(ctx, from, to); err != nil || from == imap.Inbox {
		return err
	}
	return a.follow(ctx, from, to)
}

// Delete forgets the flags that are kept by name; others are forgotten when they have not been
// looked at for long.
func (a *Account) Delete(ctx context.Context, name string) error {
	if err := a.Home.Delete(ctx, name); err != nil {
		return err
	}
	return a.follow(ctx, name, "")
}

// follow is done when the mailbox has its new name already: that it fails is for the log.
func (a *Account) follow(ctx context.Context, from, to string) error {
	keeper, err := a.keep(ctx)
	if err == nil {
		err = keeper.MoveMarks(ctx, mailbox.MarkedBox{Account: a.cfg.Account, Name: from}, to)
	}
	if err != nil {
		a.lost(from, err)
	}
	return nil
}

// lost tells of flags of the reader's own that are not what they should be.
func (a *Account) lost(name string, err error) {
	a.cfg.Log.Warn("a reader's own flags could not be kept", "owner", a.cfg.Account, "mailbox", name, "error", err)
}

// Append keeps the reader's own flags apart. A mailbox whose server does not tell
// the UIDs of what was added begins without them.
func (a *Account) Append(ctx context.Context, name string, next mailbox.NextMessage) (imap.AppendData, error) {
	var own [][]imap.Flag
	data, err := a.Home.Append(ctx, name, func() (*mailbox.NewMessage, error) {
		m, err := next()
		if err != nil {
			return nil, err
		}
		out := *m
		mine, others := a.split(m.Flags)
		out.Flags = others
		own = append(own, mine)
		return &out, nil
	})
	if err != nil || data.UIDs.Len() != len(own) {
		return data, err
	}
	uids := slices.Collect(data.UIDs.All())
	a.arrived(ctx, name, data.UIDValidity, func(f imap.Flag) imap.UIDSet {
		var with []imap.UID
		for i, uid := range uids {
			if imap.HasFlag(own[i], f) {
				with = append(with, uid)
			}
		}
		return imap.UIDSetOf(with...)
	})
	return data, nil
}

// arrived marks new messages. They are there already: if that fails they are without.
func (a *Account) arrived(ctx context.Context, name string, validity uint32, with func(imap.Flag) imap.UIDSet) {
	change := &mailbox.MarkChange{UIDValidity: validity}
	for _, f := range a.cfg.Flags {
		if uids := with(f); !uids.Empty() {
			change.Set = append(change.Set, mailbox.Marked{Flag: f, UIDs: uids})
		}
	}
	if len(change.Set) == 0 || validity == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	keeper, err := a.keep(ctx)
	var key mailbox.MarkedBox
	if err == nil {
		key, err = a.find(ctx, name)
	}
	if err == nil {
		_, err = keeper.Mark(ctx, key, change)
	}
	if err != nil {
		a.lost(name, err)
	}
}
