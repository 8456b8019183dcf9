package namespace

import (
	"context"
	"sync"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// asking is one account's part of a Statuses.
type asking struct {
	account   mailbox.Complete
	temporary bool                // closed afterwards
	names     []string            // in the account's terms
	asked     map[string][]string // as they were asked for, by names
}

// answer is the status of one name of the tree.
type answer struct {
	name   string
	status imap.Status
	err    error
}

// Statuses asks the own account and all owners at once, each within
// statusTimeout. What an owner did not answer by then is UNAVAILABLE.
func (t *Tree) Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(string, imap.Status, error)) {
	var wg sync.WaitGroup
	answers := make(chan answer)
	turns := make(chan struct{}, maxAsked)
	for _, a := range t.askings(names, emit) {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeout(ctx, statusTimeout)
			defer cancel()
			for _, got := range a.ask(ctx, items) {
				answers <- got
			}
		})
	}
	go func() {
		wg.Wait()
		close(answers)
	}()
	for got := range answers {
		emit(got.name, got.status, got.err)
	}
}

// ask is what the account answers, under the names that were asked for.
func (a *asking) ask(ctx context.Context, items imap.StatusItems) (answers []answer) {
	a.account.Statuses(ctx, a.names, items, func(name string, s imap.Status, err error) {
		for _, full := range a.asked[name] {
			answers = append(answers, answer{full, s, err})
		}
	})
	if a.temporary {
		_ = a.account.Close() // it was only read from
	}
	return answers
}

// askings sorts names by the accounts they lead to. What leads nowhere is
// emitted at once. Accounts of others stay open for the next time while there
// is room for them.
func (t *Tree) askings(names []string, emit func(string, imap.Status, error)) []*asking {
	var all []*asking
	by := map[location]*asking{} // without the name
	for _, name := range names {
		at, err := t.locate(name)
		if err != nil {
			emit(name, imap.Status{}, err)
			continue
		}
		inner := at.name
		if at.name = ""; at.owner == "" {
			at.namespace = nil
		}
		a := by[at]
		if a == nil {
			a = &asking{asked: map[string][]string{}}
			a.account, a.temporary = t.forAsking(at)
			by[at] = a
			all = append(all, a)
		}
		if a.asked[inner] == nil {
			a.names = append(a.names, inner)
		}
		a.asked[inner] = append(a.asked[inner], name)
	}
	return all
}

// forAsking is the account of a location. It closes none that is open, which
// may have been given out already.
func (t *Tree) forAsking(at location) (account mailbox.Complete, temporary bool) {
	switch {
	case at.owner == "":
		return t.cfg.Own, false
	case t.openIndex(at.namespace, at.owner) < 0 && len(t.owners) >= maxOwners:
		return at.namespace.Open(at.owner), true
	}
	return t.owner(at.namespace, at.owner), false
}
