package namespace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// refusedPrefix begins the names of the annotations that say to what the user does not
// want to be subscribed. Clients don't get to see them.
const refusedPrefix = "/private/vendor/roost/unsubscribed/"

// isHidden says that an annotation is none of a client's.
func isHidden(name string) bool {
	return strings.HasPrefix(name+"/", intentPrefix) || strings.HasPrefix(name+"/", refusedPrefix)
}

// Subscriptions are the reader's own, of whosever mailboxes, and what others share
// where that subscribes by itself.
func (t *Tree) Subscriptions(ctx context.Context) ([]string, error) {
	names, err := t.cfg.Own.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	offered := t.offered(ctx)
	if len(offered) == 0 {
		return names, nil
	}
	refused, err := t.refused(ctx)
	if err != nil {
		return nil, err
	}
	names = slices.Clone(names)
	for _, name := range offered {
		if !refused[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// offered are the mailboxes to which users are subscribed by themselves, as the index
// says.
func (t *Tree) offered(ctx context.Context) (names []string) {
	for i := range t.cfg.Shared {
		s := &t.cfg.Shared[i]
		if !s.AutoSubscribe || s.AliasFor != "" {
			continue
		}
		mailboxes, _, err := s.Index.Visible(ctx, t.cfg.User, t.groups())
		if err != nil {
			t.log().Error("sharing index can't be read, others' mailboxes are not subscribed", "user", t.cfg.User, "error", err)
			continue
		}
		for owner, boxes := range mailboxes {
			for _, e := range t.entries(s, owner, boxes) {
				names = append(names, e.Name)
			}
		}
	}
	return names
}

// refused are the mailboxes that the user has unsubscribed from though they are offered.
func (t *Tree) refused(ctx context.Context) (map[string]bool, error) {
	q := &imap.MetadataQuery{Names: []string{strings.TrimSuffix(refusedPrefix, "/")}, Depth: imap.MetadataDepthAll, MaxSize: -1}
	found, err := t.cfg.Own.GetMetadata(ctx, "", q)
	names := make(map[string]bool, len(found.Entries))
	for _, e := range found.Entries {
		names[string(e.Value)] = true
	}
	return names, err
}

// SetSubscribed keeps the whole name with the reader. Subscribing needs l; where the index
// tells that, the owner is not asked.
func (t *Tree) SetSubscribed(ctx context.Context, name string, subscribed bool) error {
	at, err := t.locate(name)
	if subscribed {
		if err == nil && !t.indexed(ctx, at) {
			var p place
			if p, err = t.find(name); err == nil {
				err = canLookup(ctx, p)
			}
		}
		if err != nil {
			return err
		}
	}
	if at.namespace == nil {
		name = imap.CanonicalName(name)
	} else if at.namespace.AutoSubscribe {
		if err := t.refuse(ctx, name, !subscribed); err != nil {
			return err
		}
	}
	return t.cfg.Own.SetSubscribed(ctx, name, subscribed)
}

// refuse notes whether the user wants no subscription by itself.
func (t *Tree) refuse(ctx context.Context, name string, refused bool) error {
	sum := sha256.Sum256([]byte(name))
	entry := imap.MetadataEntry{Name: refusedPrefix + hex.EncodeToString(sum[:16])}
	if refused {
		entry.Value = []byte(name)
	}
	return t.cfg.Own.SetMetadata(ctx, "", []imap.MetadataEntry{entry})
}

// indexed says whether the index shows that the user may list the mailbox.
func (t *Tree) indexed(ctx context.Context, at location) bool {
	if at.owner == "" {
		return false
	}
	mailboxes, _, err := at.namespace.Index.Visible(ctx, t.cfg.User, t.groups())
	if err != nil {
		return false
	}
	return slices.ContainsFunc(mailboxes[at.owner], func(e mailbox.ListEntry) bool { return e.Name == at.name })
}

// canLookup is nil where the user may know of the mailbox.
func canLookup(ctx context.Context, p place) error {
	have, err := p.account.MyRights(ctx, p.name)
	if err == nil && !have.Has(imap.RightLookup) {
		err = imap.NoMailbox()
	}
	return err
}
