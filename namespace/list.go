package namespace

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// everything is the pattern that an account's whole list matches.
var everything = []string{"*"}

// List answers from the own account and the sharing index. Only owners of whom
// the index says no more than that they share something are asked, all at
// once and for a bounded time; what such an owner answered last is kept for
// when no answer comes. Nothing about others' mail is an error.
func (t *Tree) List(ctx context.Context, patterns []string) ([]mailbox.ListEntry, error) {
	all, err := t.cfg.Own.List(ctx, everything)
	if err != nil {
		return nil, err
	}
	// Levels above mailboxes are worked out anew, over the whole tree.
	all = slices.DeleteFunc(all, func(e mailbox.ListEntry) bool { return slices.Contains(e.Attrs, imap.AttrNoSelect) })
	for i := range all {
		if uses := t.cfg.Uses[all[i].Name]; !slices.ContainsFunc(all[i].Attrs, imap.Attr.IsSpecialUse) {
			all[i].Attrs = append(slices.Clip(all[i].Attrs), uses...)
		}
	}
	known := map[Index]*visible{}
	for i := range t.cfg.Shared {
		s := &t.cfg.Shared[i]
		if s.List == ListNo || s.AliasFor != "" || !reaches(patterns, s.Root) {
			continue
		}
		all = append(all, t.listShared(ctx, s, known)...)
		root := strings.TrimSuffix(s.Root, string(imap.Delimiter))
		if s.List == ListYes && root != "" {
			all = append(all, mailbox.ListEntry{Name: root, Attrs: []imap.Attr{imap.AttrNoSelect}})
		}
	}
	return mailbox.Select(all, patterns), nil
}

// reaches reports whether a pattern could match root or something below it.
func reaches(patterns []string, root string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		fixed := imap.PatternPrefix(p)
		return strings.HasPrefix(root, fixed) || strings.HasPrefix(fixed, root)
	})
}

// visible is what an Index answers; nothing if it can't be read.
type visible struct {
	mailboxes map[string][]mailbox.ListEntry
	vague     []string
}

// groups are the user's now.
func (t *Tree) groups() []string {
	if t.cfg.Groups == nil {
		return nil
	}
	return t.cfg.Groups.Groups()
}

// visible asks an Index, which several namespaces may have, once.
func (t *Tree) visible(ctx context.Context, x Index, known map[Index]*visible) *visible {
	if v := known[x]; v != nil {
		return v
	}
	v := &visible{}
	var err error
	if v.mailboxes, v.vague, err = x.Visible(ctx, t.cfg.User, t.groups()); err != nil {
		t.log().Error("sharing index can't be read, others' mailboxes are not listed", "user", t.cfg.User, "error", err)
		v = &visible{}
	}
	known[x] = v
	return v
}

// listShared lists a namespace. known are the answers of indexes in this LIST.
func (t *Tree) listShared(ctx context.Context, s *Shared, known map[Index]*visible) []mailbox.ListEntry {
	v := t.visible(ctx, s.Index, known)
	var out []mailbox.ListEntry
	for owner, names := range v.mailboxes {
		out = append(out, t.entries(s, owner, names)...)
	}
	for owner, names := range t.ask(ctx, s, v.vague) {
		out = append(out, t.entries(s, owner, names)...)
	}
	return out
}

// entries puts an owner's mailboxes at their place in the tree.
func (t *Tree) entries(s *Shared, owner string, theirs []mailbox.ListEntry) []mailbox.ListEntry {
	if owner == t.cfg.User || s.Prefix(owner) == "" {
		return nil // the namespace can't name this owner
	}
	out := make([]mailbox.ListEntry, 0, len(theirs))
	for _, e := range theirs {
		out = append(out, mailbox.ListEntry{Name: s.name(owner, e.Name), Rights: e.Rights})
	}
	return out
}

// maxAsked bounds how many owners are asked at once: enough that those of a large team
// take no longer than the slowest of them.
const maxAsked = 64

// maxListed bounds the owners whose answers are kept.
const maxListed = 1000

// ask lists the mailboxes of owners by connecting to them, for this once.
func (t *Tree) ask(ctx context.Context, s *Shared, owners []string) map[string][]mailbox.ListEntry {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards answer
		answer = map[string][]mailbox.ListEntry{}
		turns  = make(chan struct{}, maxAsked)
	)
	for _, owner := range owners {
		if owner == t.cfg.User || s.Prefix(owner) == "" {
			continue
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			account := s.Open(owner)
			entries, err := account.List(ctx, everything)
			err = errors.Join(err, account.Close())
			if err != nil {
				t.log().Warn("owner's mailboxes can't be listed", "user", t.cfg.User, "owner", owner, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answer[owner] = selectable(entries)
		})
	}
	wg.Wait()
	for _, owner := range owners {
		key := s.Root + "\x00" + owner
		if names, ok := answer[owner]; ok {
			if len(t.listed) >= maxListed {
				clear(t.listed)
			}
			if t.listed == nil {
				t.listed = map[string][]mailbox.ListEntry{}
			}
			t.listed[key] = names
		} else if names, ok := t.listed[key]; ok {
			answer[owner] = names
		}
	}
	return answer
}

func selectable(entries []mailbox.ListEntry) []mailbox.ListEntry {
	return slices.DeleteFunc(entries, func(e mailbox.ListEntry) bool {
		return slices.Contains(e.Attrs, imap.AttrNoSelect) || slices.Contains(e.Attrs, imap.AttrNonExistent)
	})
}
