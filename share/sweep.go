package share

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/mailbox"
)

// Drift is what is wrong in the index about one owner.
type Drift struct {
	Owner    string
	Changes  []dict.Change // what would mend it
	Repaired bool
	Gone     bool  // there is no such user
	Err      error // why it could not be looked at, or mended
}

// Drifted is how many keys the last sweep found wrong, before it mended them.
func (p *Publisher) Drifted() int { return int(p.drift.Load()) }

// sweep verifies and repairs all that is this backend's, again and again.
func (p *Publisher) sweep() {
	var due <-chan time.Time
	if p.cfg.Sweep > 0 {
		timer := time.NewTicker(p.cfg.Sweep)
		defer timer.Stop()
		due = timer.C
	}
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-due:
			if wrong, err := p.mend(nil, p.mended); err == nil {
				p.drift.Store(int64(wrong))
			}
		case <-p.look: // the index is expected to be behind
			p.mu.Lock()
			open := p.concerned
			p.concerned = nil
			p.mu.Unlock()
			_, _ = p.mend(nil, p.followed)
			if len(open) > 0 {
				_, _ = p.mend(open, p.followed)
			}
		}
	}
}

// mend repairs what Verify looks at, and tells of each owner about whom something was wrong.
func (p *Publisher) mend(owners []string, mended func(Drift)) (wrong int, err error) {
	wrong, err = p.Verify(p.ctx, owners, true, func(d Drift) {
		switch {
		case d.Err != nil:
			p.cfg.Log.Warn("sharing index not checked", "owner", d.Owner, "error", d.Err)
		case len(d.Changes) > 0:
			mended(d)
		}
	})
	if err != nil && p.ctx.Err() == nil {
		p.cfg.Log.Error("sharing index not swept", "error", err)
	}
	return wrong, err
}

func (p *Publisher) mended(d Drift) {
	p.cfg.Log.Warn("sharing index was wrong, it is mended", "owner", d.Owner, "keys", len(d.Changes), "user_is_gone", d.Gone)
	if p.cfg.Mended != nil {
		p.cfg.Mended(d)
	}
}

func (p *Publisher) followed(d Drift) {
	p.cfg.Log.Info("sharing index follows changed rules", "owner", d.Owner, "keys", len(d.Changes))
}

// Verify compares the index with the homes of owners, or if that is nil of all that it
// speaks of and that are surely this backend's. What it says of users who are
// gone goes. It tells of each owner whom it has looked at, or could not: what is wrong,
// mended already if repair is set. It returns how many keys were wrong. It reads the
// whole index once, and opens one home after another.
func (p *Publisher) Verify(ctx context.Context, owners []string, repair bool, tell func(Drift)) (wrong int, err error) {
	index, err := p.readAll(ctx)
	if err != nil {
		return 0, err
	}
	responsible := p.mine
	if owners == nil {
		owners, responsible = sortedKeys(index), p.known
	}
	for _, owner := range owners {
		if err := ctx.Err(); err != nil {
			return wrong, err
		}
		if !responsible(owner) {
			continue
		}
		d := p.verify(ctx, owner, index[owner], repair)
		wrong += len(d.Changes)
		tell(d)
	}
	return wrong, nil
}

// readAll is the whole index by owner.
func (p *Publisher) readAll(ctx context.Context) (map[string]map[string]string, error) {
	index := map[string]map[string]string{}
	for _, prefix := range []string{boxesPrefix, ownerPrefix, boxPrefix} {
		err := p.cfg.Dict.Iterate(ctx, prefix, func(key, value string) error {
			owner := ownerOf(key)
			if owner == "" {
				return nil
			}
			if index[owner] == nil {
				index[owner] = map[string]string{}
			}
			index[owner][key] = value
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return index, nil
}

// verifyTime is how long it may take to look at one owner.
const verifyTime = 30 * time.Second

// verify looks at one owner, of whom the index held have a moment ago.
func (p *Publisher) verify(ctx context.Context, owner string, have map[string]string, repair bool) Drift {
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	d := Drift{Owner: owner}
	mend, err := p.compare(ctx, &d, have, repair)
	d.Repaired = mend && err == nil
	d.Err = err
	return d
}

// compare notes what is wrong, and mends it if repair is set.
func (p *Publisher) compare(ctx context.Context, d *Drift, have map[string]string, repair bool) (mend bool, err error) {
	if p.cfg.Exists != nil {
		exists, err := p.cfg.Exists(ctx, d.Owner)
		if err != nil {
			return false, err
		}
		if d.Gone = !exists; d.Gone {
			d.Changes = difference(have, nil)
			if mend = repair && len(d.Changes) > 0; mend {
				err = p.cfg.Dict.Commit(ctx, d.Changes)
			}
			return mend, err
		}
	}
	home, err := p.cfg.Open(ctx, d.Owner)
	if err != nil {
		return false, err
	}
	err = p.inTurn(ctx, d.Owner, home, func(state mailbox.ShareState, want map[string]string) (err error) {
		d.Changes, err = p.stillWrong(ctx, differenceButStamp(have, want, d.Owner))
		if mend = err == nil && repair && len(d.Changes) > 0; mend {
			err = p.write(ctx, d.Owner, home, state, want, true)
		}
		return err
	})
	return mend, errors.Join(err, home.Close())
}

// differenceButStamp is the difference of what owner's mailboxes and readers are.
func differenceButStamp(have, want map[string]string, owner string) []dict.Change {
	stamp := ownerKey(owner)
	var changes []dict.Change
	for _, c := range difference(have, want) {
		if c.Key != stamp {
			changes = append(changes, c)
		}
	}
	if _, known := have[stamp]; !known && len(want) > 0 {
		changes = append(changes, dict.Set(stamp, ""))
	}
	return changes
}

// stillWrong are those of changes that are needed now, while nobody changes the owner's
// entries: what was read before may have been published meanwhile.
func (p *Publisher) stillWrong(ctx context.Context, changes []dict.Change) (still []dict.Change, err error) {
	for _, c := range changes {
		value, ok, err := p.cfg.Dict.Get(ctx, c.Key)
		if err != nil {
			return nil, err
		}
		right := ok == !c.Unset && (c.Unset || value == c.Value || strings.HasPrefix(c.Key, ownerPrefix))
		if !right {
			still = append(still, c)
		}
	}
	return still, nil
}
