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

// named runs a command whose first argument is a mailbox name. A refusal
// without a code means meant.
func (a *Account) named(ctx context.Context, h *imapclient.Handler, verb, name string, meant imap.Code, args func(*imapwire.Encoder)) error {
	err := a.control.do(ctx, repeatable(verb), func(c *imapclient.Conn) error {
		peer, err := a.control.toPeer(name)
		if err != nil {
			return err
		}
		_, err = c.Do(ctx, h, func(e *imapwire.Encoder) {
			e.Atom(verb).SP().Mailbox(peer)
			if args != nil {
				args(e)
			}
		})
		return err
	})
	return refusal(err, meant)
}

// repeatable says of which commands the second has no other answer than the
// first if that was lost after it took effect.
func repeatable(verb string) bool {
	return !slices.Contains([]string{"CREATE", "DELETE", "RENAME"}, verb)
}

// List asks for the trees below the patterns, and works out the rest here, so
// that it is the same for every peer.
func (a *Account) List(ctx context.Context, patterns []string) ([]mailbox.ListEntry, error) {
	names := map[string][]imap.Attr{}
	for _, prefix := range plainPrefixes(patterns) {
		if err := a.list(ctx, "LIST", prefix, names); err != nil {
			return nil, err
		}
	}
	all := make([]mailbox.ListEntry, 0, len(names))
	for name, uses := range names {
		all = append(all, mailbox.ListEntry{Name: name, Attrs: uses})
	}
	return mailbox.Select(all, patterns), nil
}

// plainPrefixes are those of all patterns, each once; if they are many, one for all.
func plainPrefixes(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		if prefix := plainPrefix(imap.CanonicalName(p)); !slices.Contains(out, prefix) {
			out = append(out, prefix)
		}
		if len(out) > 8 {
			return []string{""}
		}
	}
	return out
}

// plainPrefix is what the names that match a pattern begin with, as far as it
// is the same in every encoding of names.
func plainPrefix(pattern string) string {
	prefix := imap.PatternPrefix(pattern)
	if i := strings.IndexFunc(prefix, func(r rune) bool { return r < ' ' || r >= 0x7f || r == '&' }); i >= 0 {
		prefix = prefix[:i]
	}
	if len(prefix) < len(imap.Inbox) && strings.EqualFold(prefix, imap.Inbox[:len(prefix)]) {
		return "" // INBOX may be spelled otherwise there
	}
	return prefix
}

// maxNames bounds what a peer can make us hold of its tree.
const maxNames = 1_000_000

// list adds the mailboxes whose names begin with prefix, and the special uses of
// those that are the acting user's own.
func (a *Account) list(ctx context.Context, verb, prefix string, names map[string][]imap.Attr) error {
	h := &imapclient.Handler{List: func(d *imapclient.ListData) {
		if slices.ContainsFunc(d.Attrs, isNoMailbox) {
			return
		}
		if name, ok := a.control.fromPeer(d.Name, d.Delimiter); ok && name != "" && len(names) < maxNames {
			names[name] = nil
			if own := a.cfg.Acting == "" || a.cfg.Acting == a.cfg.Owner; own {
				names[name] = slices.DeleteFunc(d.Attrs, func(a imap.Attr) bool { return !a.IsSpecialUse() })
			}
		}
	}}
	return refusal(a.control.do(ctx, true, func(c *imapclient.Conn) error {
		peer, err := a.control.toPeer(prefix)
		if err != nil {
			return nil // nothing there has such a name
		}
		_, err = c.Do(ctx, h, func(e *imapwire.Encoder) {
			e.Atom(verb).SP().String("").SP().Mailbox(peer + "*")
		})
		return err
	}), imap.CodeCannot)
}

func isNoMailbox(a imap.Attr) bool {
	return strings.EqualFold(string(a), string(imap.AttrNoSelect)) || strings.EqualFold(string(a), string(imap.AttrNonExistent))
}

// Subscriptions are those that the peer keeps for this user.
func (a *Account) Subscriptions(ctx context.Context) ([]string, error) {
	names := map[string][]imap.Attr{}
	if err := a.list(ctx, "LSUB", "", names); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

// SetSubscribed sets one at the peer.
func (a *Account) SetSubscribed(ctx context.Context, name string, subscribed bool) error {
	verb := "UNSUBSCRIBE"
	if subscribed {
		verb = "SUBSCRIBE"
	}
	return a.named(ctx, nil, verb, name, imap.CodeCannot, nil)
}

// Create leaves it to the peer whether missing levels become mailboxes.
func (a *Account) Create(ctx context.Context, name string, use ...imap.Attr) error {
	if err := imap.CheckName(name); err != nil {
		return err
	}
	if len(use) == 0 {
		return a.named(ctx, nil, "CREATE", name, imap.CodeCannot, nil)
	}
	err := a.control.do(ctx, true, func(c *imapclient.Conn) error {
		if !c.Has("CREATE-SPECIAL-USE") {
			return imap.Errorf(imap.CodeUseAttr, "Special uses are not available here")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.named(ctx, nil, "CREATE", name, imap.CodeCannot, func(e *imapwire.Encoder) {
		sep := " (USE ("
		for _, attr := range use {
			e.RawString(sep).Flag(imap.Flag(attr))
			sep = " "
		}
		e.RawString("))")
	})
}

// Delete removes a mailbox at the peer. The connection it uses has none
// selected, so that a refusal harms nobody.
func (a *Account) Delete(ctx context.Context, name string) error {
	return a.named(ctx, nil, "DELETE", name, imap.CodeCannot, nil)
}

// Rename renames a mailbox at the peer.
func (a *Account) Rename(ctx context.Context, from, to string) error {
	if err := imap.CheckName(to); err != nil {
		return err
	}
	var bad error
	err := a.named(ctx, nil, "RENAME", from, imap.CodeCannot, func(e *imapwire.Encoder) {
		var peer string
		peer, bad = a.control.toPeer(to)
		e.SP().Mailbox(peer)
	})
	if bad != nil {
		return imap.Errorf(imap.CodeCannot, "Invalid mailbox name")
	}
	return err
}
