package share

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Source is what an Index reads: a Dict, or a copy of one that costs less.
type Source interface {
	Get(ctx context.Context, key string) (value string, ok bool, err error)
	Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error
}

// Index answers from a dict which mailboxes of others a user may list. It is
// safe for any number of sessions at once.
type Index struct {
	source Source
	log    *slog.Logger
	seed   maphash.Seed // of watchers' sums

	mu           sync.Mutex // guards what follows
	parsed       map[string][]mailbox.Entry
	watchers     map[*watcher]struct{}
	stopWatching func() // nil while nobody watches
}

// Bounds of the ACLs that are kept parsed: how many, and how long each is. Most
// mailboxes have one that others have too.
const (
	maxParsed     = 1 << 14
	maxParsedText = 4 << 10
)

// NewIndex reads source, which it does not close.
func NewIndex(source Source, log *slog.Logger) *Index {
	return &Index{source: source, log: log, parsed: map[string][]mailbox.Entry{}, watchers: map[*watcher]struct{}{}, seed: maphash.MakeSeed()}
}

// Visible returns the mailboxes on which user has l, by owner and with user's
// rights, and the owners of whom it is known only that they share something with
// user.
func (x *Index) Visible(ctx context.Context, user string, groups []string) (mailboxes map[string][]mailbox.ListEntry, vague []string, err error) {
	owners, err := x.sharing(ctx, user, groups)
	if err != nil {
		return nil, nil, err
	}
	mailboxes = make(map[string][]mailbox.ListEntry, len(owners))
	for _, owner := range owners {
		_, exact, err := x.source.Get(ctx, ownerKey(owner))
		if err != nil {
			return nil, nil, err
		}
		if !exact {
			vague = append(vague, owner)
			continue
		}
		boxes, err := x.boxes(ctx, acl.Identity{Owner: owner, Acting: user, Groups: groups})
		if err != nil {
			return nil, nil, err
		}
		if len(boxes) > 0 {
			mailboxes[owner] = boxes
		}
	}
	return mailboxes, vague, nil
}

// boxes are an owner's mailboxes that who may list.
func (x *Index) boxes(ctx context.Context, who acl.Identity) (list []mailbox.ListEntry, err error) {
	prefix, now := boxesOf(who.Owner), time.Now()
	err = x.source.Iterate(ctx, prefix, func(key, value string) error {
		if have := acl.Rights(acl.Holding(x.parse(key, value), now), who); have.Has(imap.RightLookup) {
			list = append(list, mailbox.ListEntry{Name: dict.Unescape(key[len(prefix):]), Rights: have})
		}
		return nil
	})
	return list, err
}

// parse reads the ACL of a mailbox key. The entries are not to be changed.
func (x *Index) parse(key, text string) []mailbox.Entry {
	x.mu.Lock()
	entries, ok := x.parsed[text]
	x.mu.Unlock()
	if ok {
		return entries
	}
	entries, problems := acl.ParseShared(text)
	if len(problems) > 0 {
		x.log.Warn("sharing index holds an ACL that can't be read", "key", key, "error", problems[0], "problems", len(problems))
	}
	if len(text) > maxParsedText {
		return entries
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.parsed) >= maxParsed {
		clear(x.parsed)
	}
	x.parsed[text] = entries
	return entries
}

// sharing are the owners with an entry for user, for one of the groups or for
// anyone, sorted. The user is none of them.
func (x *Index) sharing(ctx context.Context, user string, groups []string) ([]string, error) {
	prefixes := []string{anyonePrefix, userPrefix(user)}
	for _, g := range groups {
		if g != "" {
			prefixes = append(prefixes, groupPrefix(g))
		}
	}
	return x.owners(ctx, user, prefixes...)
}

// owners are those with a key below one of the prefixes, sorted, without user.
func (x *Index) owners(ctx context.Context, user string, prefixes ...string) ([]string, error) {
	owners := map[string]struct{}{}
	for _, prefix := range prefixes {
		err := x.source.Iterate(ctx, prefix, func(key, _ string) error {
			owner := dict.Unescape(strings.TrimPrefix(key, prefix))
			if owner != user && owner != "" && !strings.Contains(owner, "/") {
				owners[owner] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sortedKeys(owners), nil
}
