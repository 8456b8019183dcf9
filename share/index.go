package share

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Index answers from a dict which mailboxes of others a user may list. It is
// safe for any number of sessions at once.
type Index struct {
	dict Source
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	version string     // of the dict, that owners belongs to; "" if unknown
	owners  map[string]*ownerBoxes
}

// ownerBoxes is what the index says of an owner. It is not changed once made.
type ownerBoxes struct {
	exact bool // the mailbox keys say it all
	names []string
	acls  [][]mailbox.Entry // of names
}

// Source is what an Index reads: a dictionary whose reads cost next to nothing, or
// a dict.Mirror of one. If it is a dict.Versioner the Index keeps what it made of it.
type Source interface {
	Get(ctx context.Context, key string) (value string, ok bool, err error)
	Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error
}

// NewIndex reads d, which it does not close.
func NewIndex(d Source, log *slog.Logger) *Index {
	return &Index{dict: d, log: log, owners: map[string]*ownerBoxes{}}
}

// Visible returns the mailboxes on which user has l, by owner and with user's
// rights, and the owners
// of whom it is known only that they share something with user.
func (x *Index) Visible(ctx context.Context, user string, groups []string) (mailboxes map[string][]mailbox.ListEntry, vague []string, err error) {
	version := x.currentVersion(ctx)
	owners, err := x.sharing(ctx, user, groups)
	if err != nil {
		return nil, nil, err
	}
	mailboxes = map[string][]mailbox.ListEntry{}
	for _, owner := range owners {
		boxes, err := x.boxes(ctx, version, owner)
		if err != nil {
			return nil, nil, err
		}
		if !boxes.exact {
			vague = append(vague, owner)
			continue
		}
		who := acl.Identity{Owner: owner, Acting: user, Groups: groups}
		for i, name := range boxes.names {
			if have := acl.Rights(boxes.acls[i], who); have.Has(imap.RightLookup) {
				mailboxes[owner] = append(mailboxes[owner], mailbox.ListEntry{Name: name, Rights: have})
			}
		}
	}
	return mailboxes, vague, nil
}

// currentVersion tells whether what is kept is still right; "" if that can't be told.
func (x *Index) currentVersion(ctx context.Context) string {
	v, ok := x.dict.(dict.Versioner)
	if !ok {
		return ""
	}
	version, err := v.Version(ctx)
	if err != nil {
		return ""
	}
	return version
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
	owners := map[string]struct{}{}
	for _, prefix := range prefixes {
		err := x.dict.Iterate(ctx, prefix, func(key, _ string) error {
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

// boxes returns what is kept of an owner, if it is of this version, or reads it.
func (x *Index) boxes(ctx context.Context, version, owner string) (*ownerBoxes, error) {
	x.mu.Lock()
	if version == "" || x.version != version {
		x.version = version
		clear(x.owners)
	}
	kept := x.owners[owner]
	x.mu.Unlock()
	if kept != nil {
		return kept, nil
	}
	read, err := x.read(ctx, owner)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if version != "" && x.version == version {
		x.owners[owner] = read
	}
	return read, nil
}

func (x *Index) read(ctx context.Context, owner string) (*ownerBoxes, error) {
	boxes := &ownerBoxes{}
	var err error
	if _, boxes.exact, err = x.dict.Get(ctx, ownerPrefix+dict.Escape(owner)); err != nil || !boxes.exact {
		return boxes, err
	}
	prefix := boxesOf(owner)
	err = x.dict.Iterate(ctx, prefix, func(key, value string) error {
		name := dict.Unescape(strings.TrimPrefix(key, prefix))
		entries, problems := acl.ParseShared(value)
		for _, p := range problems {
			x.log.Warn("sharing index holds an ACL that can't be read", "owner", owner, "mailbox", name, "error", p)
		}
		boxes.names = append(boxes.names, name)
		boxes.acls = append(boxes.acls, entries)
		return nil
	})
	return boxes, err
}
