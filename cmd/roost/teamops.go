package main

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Places implements admin.Teams.
func (a adminACLs) Places() (places []admin.TeamPlace) {
	n := a.latest()
	for i := range n.set.Namespaces {
		if ns := &n.set.Namespaces[i]; ns.Type == "public" {
			places = append(places, admin.TeamPlace{Namespace: ns.Name, Prefix: ns.Prefix, Account: n.normalize(ns.PublicAccount())})
		}
	}
	return places
}

// Who implements admin.Teams.
func (a adminACLs) Who(ctx context.Context, name, account string) (acl.Identity, error) {
	u, err := a.acting(ctx, name)
	if err != nil {
		return acl.Identity{}, err
	}
	return acl.Identity{Owner: account, Acting: u.acting, Groups: u.groups}, nil
}

// maxGroupSearch is how many users are looked up to find one who is in a group.
const maxGroupSearch = 500

// GroupKnown implements admin.Teams. A group is nothing but what users' entries say.
func (a adminACLs) GroupKnown(ctx context.Context, group string) (bool, error) {
	users, err := adminUsers(a).List(ctx, "*")
	if err != nil {
		return false, imap.Wrap(imap.CodeCannot, "the userdb can't list users", err)
	}
	for i, user := range users {
		if i == maxGroupSearch {
			return false, imap.Errorf(imap.CodeCannot, "none of %d users is in it, and the others were not looked at", maxGroupSearch)
		}
		u, err := a.acting(ctx, user)
		if err != nil {
			return false, err
		}
		if slices.Contains(u.groups, group) {
			return true, nil
		}
	}
	return false, nil
}

// Open implements admin.Teams.
func (a adminACLs) Open(ctx context.Context, by *admin.Author, account string, create bool) (admin.TeamHome, error) {
	release := func() {}
	if by != nil {
		select {
		case a.administration.teams <- struct{}{}:
			release = func() { <-a.administration.teams }
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		}
	}
	k, err := a.open(ctx, account, create)
	if err != nil {
		release()
		return nil, err
	}
	return &teamHome{keptHome: k, by: by, release: release}, nil
}

// teamHome is the mail of a public namespace's account, for its administrator.
type teamHome struct {
	*keptHome
	by      *admin.Author // nil: nothing is changed
	release func()
}

func (h *teamHome) Follows() bool { return h.rules.Inherit }

func (h *teamHome) Mailboxes(ctx context.Context) ([]string, error) { return h.home.Mailboxes(ctx) }

func (h *teamHome) Entries(ctx context.Context, name string) (*admin.Entries, error) {
	return h.entries(ctx, name)
}

func (h *teamHome) Change(ctx context.Context, name string, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error {
	return h.change(ctx, *h.by, name, change)
}

func (h *teamHome) Create(ctx context.Context, name string) error {
	err := h.home.Create(ctx, name)
	if err == nil {
		h.tell(*h.by, acl.Event{Mailbox: name})
	}
	return err
}

// Delete tells the audit log whose rights go.
func (h *teamHome) Delete(ctx context.Context, name string) error {
	e, err := h.entries(ctx, name)
	if err != nil {
		return err
	}
	if err := h.home.Delete(ctx, name); err != nil {
		return err
	}
	before := slices.DeleteFunc(slices.Clone(e.List), func(e mailbox.Entry) bool { return e.Global })
	h.tell(*h.by, acl.Event{Mailbox: name, Changed: true, Before: before})
	return nil
}

func (h *teamHome) Messages(ctx context.Context, name string) (int, error) {
	st, err := h.home.Status(ctx, name, imap.StatusMessages)
	return int(st.Messages), err
}

func (h *teamHome) Close() {
	h.keptHome.close()
	h.release()
}
