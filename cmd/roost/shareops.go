package main

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/share"
)

// needSharing is an error where there is no sharing index.
func (a adminACLs) needSharing() error {
	if a.sharing == nil {
		return imap.Errorf(imap.CodeCannot, "there is no sharing index: acl_shared_dict is not set")
	}
	return nil
}

// SharedBy implements admin.Shares.
func (a adminACLs) SharedBy(ctx context.Context, owner string) ([]admin.SharedBox, error) {
	if err := a.needSharing(); err != nil {
		return nil, err
	}
	return sharedBoxes(a.sharing.index.From(ctx, owner))
}

// SharedWith implements admin.Shares.
func (a adminACLs) SharedWith(ctx context.Context, whom string) ([]admin.SharedBox, error) {
	if err := a.needSharing(); err != nil {
		return nil, err
	}
	x := a.sharing.index
	if group, is := strings.CutPrefix(whom, "$"); is {
		return sharedBoxes(x.ToGroup(ctx, group))
	}
	if whom == "anyone" {
		return sharedBoxes(x.ToAnyone(ctx))
	}
	u, err := a.acting(ctx, whom)
	if err != nil {
		return nil, err
	}
	return sharedBoxes(x.To(ctx, u.acting, u.groups))
}

func sharedBoxes(list []share.Shared, err error) ([]admin.SharedBox, error) {
	if err != nil {
		return nil, indexAway(err)
	}
	boxes := make([]admin.SharedBox, 0, len(list))
	for _, s := range list {
		boxes = append(boxes, admin.SharedBox(s))
	}
	return boxes, nil
}

// Verify implements admin.Shares. With a coordinator all are those of whom the index
// speaks and those whom the userdb lists; without one it can't be known whose mail is
// here, but for those who were opened.
func (a adminACLs) Verify(ctx context.Context, owner string, repair bool, tell func(admin.ShareDrift)) error {
	if err := a.needSharing(); err != nil {
		return err
	}
	if owner != "" {
		if err := a.mailOrNobody(ctx, owner); err != nil {
			return err
		}
		defer a.letGo(owner)
		return a.verify(ctx, []string{owner}, repair, tell)
	}
	seen := map[string]bool{}
	err := a.verify(ctx, nil, repair, func(d admin.ShareDrift) {
		seen[d.Owner] = true
		tell(d)
	})
	if err != nil || a.holds == nil {
		return err
	}
	users, err := adminUsers(a).List(ctx, "*")
	if err != nil {
		a.log.Info("the userdb can't list users: only those in the sharing index are looked at", "error", err)
		return nil
	}
	rest := []string{}
	for _, user := range users {
		if !seen[user] && a.holds(user) && a.mailOrNobody(ctx, user) == nil {
			rest = append(rest, user)
		}
	}
	return a.verify(ctx, rest, repair, tell)
}

// mailOrNobody says that a user has no mail here yet; looking for it would make it.
func (a adminACLs) mailOrNobody(ctx context.Context, user string) error {
	n := a.latest()
	res, err := n.auth.Lookup(ctx, user)
	switch {
	case imap.CodeOf(err) == imap.CodeNonExistent:
		return nil
	case err != nil:
		return lookupFailure(user, err)
	}
	dir, _, err := mailDir(n.set, res)
	if err != nil {
		return unavailable(err)
	}
	return mailThere(n.set, res.User, dir)
}

func (a adminACLs) verify(ctx context.Context, owners []string, repair bool, tell func(admin.ShareDrift)) error {
	_, err := a.publisher.Verify(ctx, owners, repair, func(d share.Drift) {
		told := admin.ShareDrift{Owner: d.Owner, Keys: len(d.Changes), Gone: d.Gone, Repaired: d.Repaired && len(d.Changes) > 0}
		if d.Err != nil {
			told.Error = d.Err.Error()
			a.log.Warn("sharing index not checked", "owner", d.Owner, "error", d.Err)
		}
		if told.Repaired {
			a.auditMended(d)
		}
		tell(told)
	})
	if err != nil {
		return imap.Wrap(imap.CodeUnavailable, "not done: "+err.Error(), err)
	}
	return nil
}

// letGo closes an owner's mail. Without a coordinator it may be served by another
// backend, which is not to wait until it would be closed here.
func (a adminACLs) letGo(owner string) {
	mine := func(user string) bool { return user == owner }
	if a.holds != nil || a.anySession(func(s imapserver.SessionInfo) bool { return mine(s.User) }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if err := a.store.Evict(ctx, mine); err != nil {
		a.log.Warn("close account", "owner", owner, "error", err)
	}
}
