package namespace

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// maxObserved bounds the owners that a session observes: each costs a
// connection, here and at the owner's backend.
const maxObserved = 32

// observation is what a Tree observes beside one's own mail: the owners below some
// names, as the index shows them.
type observation struct {
	below  []string
	notify func()
	stale  atomic.Bool // the index has changed
	others []observed
	stops  []func() // of all but others
}

// observed is another owner's mail that is observed, by an account of its own.
type observed struct {
	namespace *Shared
	owner     string
	account   mailbox.Complete
	stop      func() // nil if it does not answer
}

func (o *observed) is(s *Shared, owner string) bool { return o.namespace == s && o.owner == owner }

// Observe observes one's own mail, and of other owners those whose mail is named, now or
// when they begin to share.
func (t *Tree) Observe(ctx context.Context, below []string, notify func()) (stop func(), err error) {
	o := &observation{below: below, notify: notify}
	o.stops = t.watchIndex(o)
	others, err := t.ownersBelow(ctx, below)
	if err == nil {
		var stopOwn func()
		if stopOwn, err = t.cfg.Own.Observe(ctx, nil, notify); err == nil {
			o.stops = append(o.stops, stopOwn)
		}
	}
	if err != nil {
		stopAll(o.stops)
		return nil, err
	}
	t.observation = o
	o.others = t.observe(ctx, others)
	return t.unobserve, nil
}

// watchIndex has changes of what the user may see below the observed names be noticed.
func (t *Tree) watchIndex(o *observation) (stops []func()) {
	changed := func() {
		o.stale.Store(true)
		o.notify()
	}
	for i := range t.cfg.Shared {
		s := &t.cfg.Shared[i]
		w, ok := s.Index.(Watcher)
		inside := func(name string) bool {
			return strings.HasPrefix(s.Root, name+string(imap.Delimiter)) || strings.HasPrefix(name, s.Root)
		}
		if !ok || !slices.ContainsFunc(o.below, inside) {
			continue
		}
		stops = append(stops, w.Watch(t.cfg.User, t.groups, changed))
	}
	if len(stops) > 0 && t.cfg.Groups != nil {
		stops = append(stops, t.cfg.Groups.Watch(changed))
	}
	return stops
}

// observe begins to observe owners, all at once and for a bounded time.
func (t *Tree) observe(ctx context.Context, others []observed) []observed {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i := range others {
		o := &others[i]
		o.account = o.namespace.Open(o.owner)
		all.Go(func() {
			var err error
			if o.stop, err = o.account.Observe(ctx, nil, t.observation.notify); err != nil {
				t.log().Warn("owner's mail can't be observed", "user", t.cfg.User, "owner", o.owner, "error", err)
			}
		})
	}
	all.Wait()
	return others
}

// follow observes those who share by now, and no more those who do not.
func (t *Tree) follow(ctx context.Context) {
	o := t.observation
	if o == nil || !o.stale.Swap(false) {
		return
	}
	now, err := t.ownersBelow(ctx, o.below)
	if err != nil {
		t.log().Warn("it is not known whose mail is to be observed", "user", t.cfg.User, "error", err)
		return
	}
	var kept, gone []observed
	for _, old := range o.others {
		same := func(n observed) bool { return n.is(old.namespace, old.owner) && old.stop != nil }
		if i := slices.IndexFunc(now, same); i >= 0 {
			now = slices.Delete(now, i, i+1)
			kept = append(kept, old)
		} else {
			gone = append(gone, old)
		}
	}
	t.endObserved(gone)
	o.others = append(kept, t.observe(ctx, now)...)
}

func (t *Tree) unobserve() {
	o := t.observation
	if o == nil {
		return
	}
	t.observation = nil
	stopAll(o.stops)
	t.endObserved(o.others)
}

func stopAll(stops []func()) {
	for _, stop := range stops {
		stop()
	}
}

func (t *Tree) endObserved(others []observed) {
	for _, o := range others {
		if o.stop != nil {
			o.stop()
		}
		if err := o.account.Close(); err != nil {
			t.log().Warn("close account", "owner", o.owner, "error", err)
		}
	}
}

// ownersBelow finds the other owners whose mail is named by, or lies below, one
// of names.
func (t *Tree) ownersBelow(ctx context.Context, names []string) ([]observed, error) {
	var out []observed
	add := func(s *Shared, owner string) {
		same := func(o observed) bool { return o.is(s, owner) }
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
	mailboxes, vague, err := s.Index.Visible(ctx, t.cfg.User, t.groups())
	if err != nil {
		return nil, imap.Wrap(imap.CodeUnavailable, "It is not known now who shares mailboxes", err)
	}
	owners := vague
	for owner := range mailboxes {
		owners = append(owners, owner)
	}
	return owners, nil
}

// others are the owners who are observed.
func (t *Tree) others() []observed {
	if t.observation == nil {
		return nil
	}
	return t.observation.others
}

// Overview puts what each account tells at its place in the tree. Others' names
// that cannot be told cost nothing but themselves.
func (t *Tree) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	t.follow(ctx)
	all, err := t.cfg.Own.Overview(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, o := range t.others() {
		if o.stop == nil {
			continue
		}
		other, err := o.account.Overview(ctx)
		errs = append(errs, err)
		for _, g := range other {
			g.Name = o.namespace.name(o.owner, g.Name)
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
	all, err := t.cfg.Own.MetadataChanges(ctx)
	all = slices.DeleteFunc(all, func(c mailbox.MetadataChange) bool { return c.Mailbox == "" && isHidden(c.Entry) })
	errs := []error{err}
	for _, o := range t.others() {
		if o.stop == nil {
			continue
		}
		other, err := o.account.MetadataChanges(ctx)
		errs = append(errs, err)
		for _, c := range other {
			if c.Mailbox != "" {
				c.Mailbox = o.namespace.name(o.owner, c.Mailbox)
				all = append(all, c)
			}
		}
	}
	mailbox.SortMetadataChanges(all)
	return all, errors.Join(errs...)
}
