package main

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// ownMailboxes are the mailbox blocks of the user's own namespaces, by name.
func (u *user) ownMailboxes(yield func(name string, box *config.Mailbox)) {
	for i := range u.set.Namespaces {
		ns := &u.set.Namespaces[i]
		if ns.Type != "private" || ns.IsTemplate() {
			continue
		}
		for j := range ns.Mailboxes {
			box := &ns.Mailboxes[j]
			yield(imap.CanonicalName(strings.ReplaceAll(box.Name, ns.Separator, string(imap.Delimiter))), box)
		}
	}
}

// specialUses are those that the configuration gives, nil if there are none.
func (u *user) specialUses() map[string][]imap.Attr {
	var uses map[string][]imap.Attr
	u.ownMailboxes(func(name string, box *config.Mailbox) {
		for _, word := range box.SpecialUse {
			if use, ok := imap.SpecialUse(word); ok {
				if uses == nil {
					uses = map[string][]imap.Attr{}
				}
				uses[name] = append(uses[name], use)
			}
		}
	})
	return uses
}

// makeMailboxes makes the mailboxes that the configuration wants to exist.
// Trouble is no reason to refuse a login.
func (u *user) makeMailboxes(ctx context.Context, own mailbox.Account) {
	u.ownMailboxes(func(name string, box *config.Mailbox) {
		if box.Auto == "no" || box.Auto == "" {
			return
		}
		if _, err := own.Status(ctx, name, imap.StatusUIDValidity); imap.CodeOf(err) != imap.CodeNonExistent {
			return
		}
		err := own.Create(ctx, name)
		if err == nil && box.Auto == "subscribe" {
			err = own.SetSubscribed(ctx, name, true)
		}
		if err != nil && imap.CodeOf(err) != imap.CodeAlreadyExists {
			u.node.log.Warn("mailbox of the configuration can't be made", "user", u.name, "mailbox", name, "error", err)
		}
	})
}

// serverMetadata are the annotations of the server.
func serverMetadata(set *config.Mail) []imap.MetadataEntry {
	var entries []imap.MetadataEntry
	for _, e := range []struct{ name, value string }{{"/shared/admin", set.ServerAdmin}, {"/shared/comment", set.ServerComment}} {
		if e.value != "" {
			entries = append(entries, imap.MetadataEntry{Name: e.name, Value: []byte(e.value)})
		}
	}
	return entries
}
