package share

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// publish makes the dict say what home says.
func (p *Publisher) publish(ctx context.Context, owner string, home Home) error {
	return p.inTurn(ctx, owner, home, func(state mailbox.ShareState, want map[string]string) error {
		mend := false
		if state.Version == state.Published {
			if shown, err := p.shows(ctx, owner, want); shown || err != nil {
				return err
			}
			mend = true
			p.cfg.Log.Warn("sharing index does not show what the owner shares, it is mended", "owner", owner)
		}
		return p.write(ctx, owner, home, state, want, mend)
	})
}

// Recalc brings the dict into line with what is in the owner's home, whatever was
// published before, and says if that failed. What should not be there goes too.
func (p *Publisher) Recalc(ctx context.Context, owner string, home Home) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Wait)
	defer cancel()
	return p.inTurn(ctx, owner, home, func(state mailbox.ShareState, want map[string]string) error {
		return p.write(ctx, owner, home, state, want, true)
	})
}

// inTurn calls do with the state of an owner's home and the keys that say what it shares. One
// owner's publications follow one another, so that an older one never wins.
func (p *Publisher) inTurn(ctx context.Context, owner string, home Home, do func(mailbox.ShareState, map[string]string) error) error {
	release, err := p.turns.take(ctx, owner)
	if err != nil {
		return err
	}
	defer release()
	state := home.ShareState()
	want, err := p.wantedBy(ctx, owner, home)
	if err != nil {
		return err
	}
	return do(state, want)
}

// maxConflicts is how often a publication is tried again because another came
// between.
const maxConflicts = 4

// write makes the dict hold the keys of want and no others of owner's, as of state. The
// caller has owner's turn. With whole it looks for keys everywhere; else it
// trusts that the index is as an earlier publication left it.
func (p *Publisher) write(ctx context.Context, owner string, home Home, state mailbox.ShareState, want map[string]string, whole bool) error {
	var err error
	for range maxConflicts {
		if err = p.commit(ctx, owner, state, want, whole); !errors.Is(err, dict.ErrConflict) {
			break
		}
	}
	if errors.Is(err, errLater) {
		p.cfg.Log.Info("sharing index shows a later state of this owner already", "owner", owner, "epoch", state.Epoch, "version", state.Version)
		return nil
	}
	if err != nil {
		return err
	}
	return home.MarkShared(ctx, state.Version)
}

// errLater says that another backend has published since.
var errLater = errors.New("a later state is published")

// commit is one try to write.
func (p *Publisher) commit(ctx context.Context, owner string, state mailbox.ShareState, want map[string]string, whole bool) error {
	key, now := ownerKey(owner), stamp{state.Epoch, state.Version}
	value, known, err := p.cfg.Dict.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	old := parseStamp(value)
	if old.after(now) {
		return errLater
	}
	have, err := p.current(ctx, owner, want, whole || old == stamp{})
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	changes := difference(have, want)
	condition := dict.IfValue(key, value)
	switch {
	case !known && len(changes) == 0 && len(want) == 0:
		return nil // who never shared anything needs no stamp
	case !known:
		condition = dict.IfMissing(key)
	case len(changes) == 0 && old.epoch == now.epoch:
		return nil
	}
	changes = append(changes, dict.Set(key, now.String()))
	if err := p.cfg.Dict.Commit(ctx, changes, condition); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	return nil
}

// shows reports whether the index holds the keys of want and no other mailboxes of owner's.
// Only Dovecot's keys that stand for none of these are not looked for.
func (p *Publisher) shows(ctx context.Context, owner string, want map[string]string) (bool, error) {
	_, known, err := p.cfg.Dict.Get(ctx, ownerKey(owner))
	if err != nil || !known && len(want) > 0 {
		return false, err
	}
	stale := false
	have := map[string]string{}
	err = p.cfg.Dict.Iterate(ctx, boxesOf(owner), func(key, value string) error {
		have[key] = value
		stale = stale || want[key] != value
		return nil
	})
	if err != nil || stale {
		return false, err
	}
	for key, value := range want {
		at, ok := have[key]
		if strings.HasPrefix(key, boxesPrefix) {
			at, ok, err = p.cfg.Dict.Get(ctx, key)
		}
		if err != nil || !ok || at != value {
			return false, err
		}
	}
	return true, nil
}

// wantedBy are the keys that say what home shares.
func (p *Publisher) wantedBy(ctx context.Context, owner string, home Home) (map[string]string, error) {
	var rules acl.Rules
	if p.cfg.Rules != nil {
		var err error
		if rules, err = p.cfg.Rules(ctx, owner); err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
	}
	boxes, err := entriesByBox(ctx, home, &rules)
	if err != nil {
		return nil, fmt.Errorf("read ACLs: %w", err)
	}
	return wanted(owner, boxes), nil
}

// entriesByBox are the entries that hold for each mailbox. What has expired is among them
// until it is removed, so that they depend on nothing but the home and the rules.
func entriesByBox(ctx context.Context, home Home, rules *acl.Rules) (map[string][]mailbox.Entry, error) {
	names, err := home.Mailboxes(ctx)
	if err != nil {
		return nil, err
	}
	boxes := make(map[string][]mailbox.Entry, len(names))
	for _, name := range names {
		standing, err := home.Standing(ctx, name)
		if imap.CodeOf(err) == imap.CodeNonExistent {
			continue
		}
		if err != nil {
			return nil, err
		}
		if entries := rules.Dated(standing); len(entries) > 0 {
			boxes[name] = entries
		}
	}
	return boxes, nil
}

// current are the keys that speak of owner now, without the stamp: Dovecot's that are
// wanted or that the mailbox keys stand for, or with whole every one of Dovecot's,
// for which the whole index is read.
func (p *Publisher) current(ctx context.Context, owner string, want map[string]string, whole bool) (map[string]string, error) {
	have := map[string]string{}
	note := func(key, value string) error {
		have[key] = value
		return nil
	}
	if err := p.cfg.Dict.Iterate(ctx, boxesOf(owner), note); err != nil {
		return nil, err
	}
	if whole {
		return have, p.cfg.Dict.Iterate(ctx, boxesPrefix, func(key, value string) error {
			if ownerOf(key) == owner {
				have[key] = value
			}
			return nil
		})
	}
	perhaps := map[string]struct{}{}
	for key := range want {
		perhaps[key] = struct{}{}
	}
	for _, text := range have {
		entries, _ := acl.ParseShared(text)
		for _, key := range destinations(entries, owner) {
			perhaps[key] = struct{}{}
		}
	}
	for key := range perhaps {
		if !strings.HasPrefix(key, boxesPrefix) {
			continue
		}
		value, ok, err := p.cfg.Dict.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if ok {
			have[key] = value
		}
	}
	return have, nil
}

// turns lets one goroutine at a time work on an owner.
type turns struct {
	mu   sync.Mutex // guards held
	held map[string]chan struct{}
}

func (t *turns) take(ctx context.Context, owner string) (release func(), err error) {
	for {
		t.mu.Lock()
		busy := t.held[owner]
		if busy == nil {
			mine := make(chan struct{})
			t.held[owner] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.held, owner)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
