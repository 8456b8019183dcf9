package share

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Shared is a mailbox that an owner shares, as the index has it.
type Shared struct {
	Owner   string
	Mailbox string          // empty: the index says that something is shared, and not what
	Entries []mailbox.Entry // those that were asked for, in the order in which they are heard
	Rights  imap.Rights     // what they amount to for the user who was asked for
}

// From is what owner shares, each mailbox with its entries about others.
func (x *Index) From(ctx context.Context, owner string) ([]Shared, error) {
	about := func(e mailbox.Entry) bool { return e.Identifier != "owner" && e.Identifier != "user="+owner }
	list, err := x.of(ctx, owner, about)
	if err != nil || len(list) > 0 {
		return list, err
	}
	s := Shared{Owner: owner}
	err = x.source.Iterate(ctx, boxesPrefix, func(key, _ string) error {
		if e, of := vagueEntry(key); of == owner {
			s.Entries = append(s.Entries, e)
		}
		return nil
	})
	if err != nil || len(s.Entries) == 0 {
		return nil, err
	}
	return []Shared{s}, nil
}

// To is what others share with user, who is in groups: each mailbox with the entries that
// matter to the user, and the user's rights.
func (x *Index) To(ctx context.Context, user string, groups []string) ([]Shared, error) {
	owners, err := x.sharing(ctx, user, groups)
	if err != nil {
		return nil, err
	}
	list, err := x.by(ctx, owners, func(owner string) func(mailbox.Entry) bool {
		id := acl.Identity{Owner: owner, Acting: user, Groups: groups}
		return func(e mailbox.Entry) bool { return len(acl.Matching([]mailbox.Entry{e}, id)) > 0 }
	})
	for i := range list {
		s := &list[i]
		s.Rights = acl.Rights(s.Entries, acl.Identity{Owner: s.Owner, Acting: user, Groups: groups})
	}
	return list, err
}

// ToGroup is what is shared with a group: each mailbox with the entries that name it.
func (x *Index) ToGroup(ctx context.Context, group string) ([]Shared, error) {
	return x.naming(ctx, groupPrefix(group), "group="+group, "group-override="+group)
}

// ToAnyone is what is shared with everybody: each mailbox with the entries that say so.
func (x *Index) ToAnyone(ctx context.Context) ([]Shared, error) {
	return x.naming(ctx, anyonePrefix, "anyone", "authenticated")
}

// naming are the mailboxes of the owners below a prefix that have entries of identifiers.
func (x *Index) naming(ctx context.Context, prefix string, identifiers ...string) ([]Shared, error) {
	owners, err := x.owners(ctx, "", prefix)
	if err != nil {
		return nil, err
	}
	return x.by(ctx, owners, func(string) func(mailbox.Entry) bool {
		return func(e mailbox.Entry) bool { return slices.Contains(identifiers, e.Identifier) }
	})
}

// by is what owners share, of the entries those that matter.
func (x *Index) by(ctx context.Context, owners []string, matter func(owner string) func(mailbox.Entry) bool) (list []Shared, err error) {
	for _, owner := range owners {
		_, exact, err := x.source.Get(ctx, ownerKey(owner))
		if err != nil {
			return nil, err
		}
		if !exact {
			list = append(list, Shared{Owner: owner})
			continue
		}
		more, err := x.of(ctx, owner, matter(owner))
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// of are an owner's mailboxes that have entries that matter.
func (x *Index) of(ctx context.Context, owner string, matters func(mailbox.Entry) bool) (list []Shared, err error) {
	prefix, now := boxesOf(owner), time.Now()
	err = x.source.Iterate(ctx, prefix, func(key, value string) error {
		s := Shared{Owner: owner, Mailbox: dict.Unescape(key[len(prefix):])}
		for _, e := range acl.Sorted(acl.Holding(x.parse(key, value), now)) {
			if matters(e) {
				s.Entries = append(s.Entries, e)
			}
		}
		if len(s.Entries) > 0 {
			list = append(list, s)
		}
		return nil
	})
	return list, err
}

// vagueEntry is the entry that there must be for one of Dovecot's keys, of some mailbox of owner.
func vagueEntry(key string) (e mailbox.Entry, owner string) {
	place := strings.TrimPrefix(key, boxesPrefix)
	i := strings.LastIndexByte(place, '/')
	if i < 0 {
		return e, ""
	}
	owner, place = dict.Unescape(place[i+1:]), place[:i]
	kind, name, named := strings.Cut(place, "/")
	if named {
		kind += "=" + dict.Unescape(name)
	}
	return mailbox.Entry{Identifier: kind, Rights: imap.RightLookup}, owner
}
