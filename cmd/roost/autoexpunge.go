package main

import (
	"context"
	"strings"
	"time"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/store"
)

// autoexpungeTimeout bounds what the end of a session waits for.
const autoexpungeTimeout = 30 * time.Second

// atEnd is what the end of the owner's session does: it expunges what mailbox
// blocks say, as Dovecot does, and then calls release. Others' mailboxes have no
// such blocks. Where there are none u is not kept: it is larger than a session.
func (u *user) atEnd(release func()) func() {
	due := u.autoexpunging()
	if len(due) == 0 {
		return release
	}
	return func() {
		u.autoexpunge(due)
		release()
	}
}

// autoexpunging are the blocks that name mail to be expunged.
func (u *user) autoexpunging() []config.Mailbox {
	var due []config.Mailbox
	u.ownMailboxes(func(name string, box *config.Mailbox) {
		if box.Autoexpunge > 0 || box.AutoexpungeMaxMails > 0 {
			b := *box
			b.Name = name
			due = append(due, b)
		}
	})
	return due
}

func (u *user) autoexpunge(due []config.Mailbox) {
	ctx, cancel := context.WithTimeout(context.Background(), autoexpungeTimeout)
	defer cancel()
	home, err := u.node.openSession(store.InBackground(ctx), u.name, u.dir, store.View{Acting: u.name})
	if err == nil {
		err = u.autoexpungeIn(ctx, home, due)
		home.Close()
	}
	if err != nil {
		u.node.log.Warn("autoexpunge failed", "user", u.name, "error", err)
	}
}

func (u *user) autoexpungeIn(ctx context.Context, home *store.Session, due []config.Mailbox) error {
	for i := range due {
		box := &due[i]
		names := []string{box.Name}
		if strings.ContainsAny(box.Name, "*%") {
			all, err := home.Mailboxes(ctx)
			if err != nil {
				return err
			}
			names = matching(all, box.Name)
		}
		for _, name := range names {
			before := time.Time{}
			if box.Autoexpunge > 0 {
				before = time.Now().Add(-box.Autoexpunge)
			}
			n, err := home.Expire(ctx, name, before, box.AutoexpungeMaxMails)
			if err != nil && imap.CodeOf(err) != imap.CodeNonExistent {
				return err
			}
			if n > 0 {
				u.node.log.Info("autoexpunge", "user", u.name, "mailbox", name, "messages", n)
			}
		}
	}
	return nil
}

// matching are the names that a pattern of LIST matches.
func matching(names []string, pattern string) []string {
	all := make([]mailbox.ListEntry, len(names))
	for i, name := range names {
		all[i].Name = name
	}
	var found []string
	for _, e := range mailbox.Select(all, []string{pattern}) {
		found = append(found, e.Name)
	}
	return found
}
