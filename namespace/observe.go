package namespace

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

var _ mailbox.Observer = (*Tree)(nil)

// maxObserved bounds the owners that a session observes: each costs a
// connection, here and at the owner's backend.
const maxObserved = 32

// observed is another owner's mail that is observed, by an account of its own.
type observed struct {
	namespace *Shared
	owner     string
	account   mailbox.Account
	observer  mailbox.Observer // the same, nil if it is none
}

// Observe observes one's own mail, and of other owners those whose mail is named.
func (t *Tree) Observe(ctx context.Context, below []string, notify func()) (stop func(), err error) {
	own, ok := t.cfg.Own.(mailbox.Observer)
	if !ok {
		return nil, imap.Errorf(imap.CodeCannot, "This mail can't be observed")
	}
	others, err := t.ownersBelow(ctx, below)
	if err != nil {
		return nil, err
	}
	stopOwn, err := own.Observe(ctx, nil, notify)
	if err != nil {
		return nil, err
	}
	stops := append(t.observe(ctx, others, notify), stopOwn)
	return func() { t.unobserve(stops) }, nil
}

// observe observes other owners, all at once and for a bounded time.
func (t *Tree) observe(ctx context.Context, others []observed, notify func()) []func() {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var all sync.WaitGroup
	stops := make([]func(), len(others))
	for i := range others {
		o := &others[i]
		o.account = o.namespace.Open(o.owner)
		all.Go(func() {
			var err error
			if stops[i], err = o.observe(ctx, notify); err != nil {
				t.log().Warn("owner's mail can't be observed", "user", t.cfg.User, "owner", o.owner, "error", err)
			}
		})
	}
	all.Wait()
	t.observed = others
	return stops
}

// observe returns a stop in any case.
func (o *observed) observe(ctx context.Context, notify func()) (stop func(), err error) {
	observer, ok := o.account.(mailbox.Observer)
	if !ok {
		return func() {}, imap.Errorf(imap.CodeCannot, "This mail can't be observed")
	}
	o.observer = observer
	if stop, err = observer.Observe(ctx, nil, notify); err != nil {
		return func() {}, err
	}
	return stop, nil
}

func (t *Tree) unobserve(stops []func()) {
	for _, stop := range stops {
		stop()
	}
	for _, o := range t.observed {
		if err := o.account.Close(); err != nil {
			t.log().Warn("close account", "owner", o.owner, "error", err)
		}
	}
	t.observed = nil
}

// ownersBelow finds the other owners whose mail is named by, or lies below, one
// of names.
func (t *Tree) ownersBelow(ctx context.Context, names []string) ([]observed, error) {
	var out []observed
	add := func(s *Shared, owner string) {
		same := func(o observed) bool { return o.namespace == s && o.owner == owner }
		if owner != t.cfg.User && s.Prefix(owner) != "" && !slices.ContainsFunc(out, same) {
			out = append(out, observed{namespace: s, owner: owner})
		}
	}
	for i := range t.cfg.Shared {
		s := &t.cfg.Shared[i]
		for _, name := range names {
			if strings.HasPrefix(s.Root, name+string(imap.Delimiter)) {
				owners, err := t.visibleOwners(ctx, s)
				if err != nil {
					return nil, err
				}
				for _, owner := range owners {
					add(s, owner)
				}
				continue
			}
			if owner, _, ok := s.Match(name); ok && strings.HasPrefix(name, s.Root) {
				add(s, owner)
			}
		}
	}
	if len(out) > maxObserved {
		return nil, imap.Errorf(imap.CodeLimit, "Too many other users' mailboxes")
	}
	return out, nil
}

func (t *Tree) visibleOwners(ctx context.Context, s *Shared) ([]string, error) {
	mailboxes, vague, err := s.Index.Visible(ctx, t.cfg.User, t.cfg.Groups)
	if err != nil {
		return nil, err
	}
	owners := vague
	for owner := range mailboxes {
		owners = append(owners, owner)
	}
	return owners, nil
}

// Overview puts what each account tells at its place in the tree. Others' names
// that cannot be told cost nothing but themselves.
func (t *Tree) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	own, ok := t.cfg.Own.(mailbox.Observer)
	if !ok {
		return nil, nil
	}
	all, err := own.Overview(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, o := range t.observed {
		if o.observer == nil {
			continue
		}
		other, err := o.observer.Overview(ctx)
		errs = append(errs, err)
		for _, g := range other {
			g.Name = placed(o.namespace.Prefix(o.owner), g.Name)
			all = append(all, g)
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.log().Debug("others' mail is not all seen", "user", t.cfg.User, "error", err)
	}
	slices.SortFunc(all, func(a, b mailbox.Glance) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// MetadataChanges puts what each account tells at its place in the tree. Of other
// owners' mail it is that of mailboxes.
func (t *Tree) MetadataChanges(ctx context.Context) ([]mailbox.MetadataChange, error) {
	own, ok := t.cfg.Own.(mailbox.Observer)
	if !ok {
		return nil, nil
	}
	all, err := own.MetadataChanges(ctx)
	all = slices.DeleteFunc(all, func(c mailbox.MetadataChange) bool { return c.Mailbox == "" && isHidden(c.Entry) })
	errs := []error{err}
	for _, o := range t.observed {
		if o.observer == nil {
			continue
		}
		other, err := o.observer.MetadataChanges(ctx)
		errs = append(errs, err)
		for _, c := range other {
			if c.Mailbox != "" {
				c.Mailbox = placed(o.namespace.Prefix(o.owner), c.Mailbox)
				all = append(all, c)
			}
		}
	}
	mailbox.SortMetadataChanges(all)
	return all, errors.Join(errs...)
}
