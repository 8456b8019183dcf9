package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Ownership says whose mail this process may open for writing, if a coordinator
// decides that. Its methods may be called by any number of goroutines.
type Ownership interface {
	// Claim gives the right to open a user's mail, or an *imap.Error with
	// UNAVAILABLE. It may wait a little, while the user changes hands.
	Claim(ctx context.Context, user string) (Claim, error)
}

// Claim is the right to one user's mail. It ends by itself, and may come back as
// long as nobody else had it.
type Claim interface {
	// Epoch is greater than that of every earlier holder, and the same as long as
	// the right is. It goes into the names of files and into manifests.
	Epoch() uint64

	// Check is nil while the right holds by the clock. It is cheap.
	Check() error

	// Confirm is called after a sync. nil says that the right was held from the last
	// Check until now without a gap, so that what was synced stands; with an
	// error nobody knows, and the change is answered neither with OK nor with NO.
	Confirm(ctx context.Context) error

	// Alive says whether the named holder is another one that still has the right
	// of that epoch, and so may have the account open. That it lives, and lost this
	// right or has another one by now, does not count: it never closes what it lost.
	Alive(holder string, epoch uint64) bool

	// Behind is called for an epoch above ours that is on disk, and for who opened the
	// mail in it. true says that the user belonged elsewhere then, and a Claim that is
	// asked for a little later is above it; false that nobody can have given it.
	Behind(holder string, epoch uint64) bool
}

// fence is what an account asks before it changes anything on disk: its Claim,
// until the account is given up. Its methods may be called by any goroutine, and hold
// no lock.
type fence struct {
	claim Claim // nil without a coordinator
	ended atomic.Bool
}

var (
	errLapsed  = errors.New("the right to this mail has lapsed")
	errGivenUp = errors.New("this mail was given up")
)

// confirmTime bounds the wait for the coordinator after a sync.
const confirmTime = 10 * time.Second

// check is nil while the account may be changed. A nil fence is that of a tool.
func (f *fence) check() error {
	switch {
	case f == nil:
		return nil
	case f.ended.Load():
		return fmt.Errorf("%w: %w", errLapsed, errGivenUp)
	case f.claim == nil:
		return nil
	}
	if err := f.claim.Check(); err != nil {
		return fmt.Errorf("%w: %w", errLapsed, err)
	}
	return nil
}

// confirm is nil if what was synced since the last check stands.
func (f *fence) confirm() error {
	if f == nil || f.claim == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), confirmTime)
	defer cancel()
	if err := f.claim.Confirm(ctx); err != nil {
		return fmt.Errorf("%w: %w", errLapsed, err)
	}
	if f.ended.Load() { // by this process, which may have it open again by now
		return fmt.Errorf("%w: %w", errLapsed, errGivenUp)
	}
	return nil
}

// end gives the right up for good.
func (f *fence) end() { f.ended.Store(true) }

// claimed says whether there is a coordinator.
func (f *fence) claimed() bool { return f != nil && f.claim != nil }

// admit checks that the account is for this user and may be opened by this backend.
func (a *account) admit(m *manifest) error {
	if m.User != a.user {
		return fmt.Errorf("%s holds the mail of %q and can't be opened for %q", a.disk.dir, m.User, a.user)
	}
	if a.fence.claimed() {
		return a.admitClaim(m)
	}
	if m.Holder != "" && m.Holder != a.store.options.Holder {
		return fmt.Errorf("%s was last opened by backend %q and not closed: only that backend may open it, or an administrator says `roost store takeover`", a.disk.dir, m.Holder)
	}
	return nil
}

// generationShift is where an epoch has its generation; below it is the coordinator's revision.
const generationShift = 48

// admitClaim compares our right with that under which the manifest was written.
func (a *account) admitClaim(m *manifest) error {
	epoch, other := a.fence.claim.Epoch(), m.Holder != "" && m.Holder != a.store.options.Holder
	switch {
	case m.Claimed > epoch && a.fence.claim.Behind(m.Holder, m.Claimed):
		return fmt.Errorf("%s was opened in epoch %d by the right of another tag, holder %q; ours is %d, and is about to be raised", a.disk.dir, m.Claimed, m.Holder, epoch)
	case m.Claimed > epoch:
		return fmt.Errorf("%s was opened by backend %q in epoch %d, and the coordinator gives epoch %d: it was made anew or restored, and an administrator has to say `roost cluster new-generation %d`", a.disk.dir, m.Holder, m.Claimed, epoch, m.Claimed>>generationShift)
	case m.Claimed == epoch && other:
		return fmt.Errorf("%s is open at backend %q in epoch %d, which is ours", a.disk.dir, m.Holder, epoch)
	case a.locked && !m.underClaim():
		return fmt.Errorf("%w that has no coordinator: %s, backend %q", ErrInUse, a.disk.dir, m.Holder)
	case other && a.fence.claim.Alive(m.Holder, m.Claimed):
		return fmt.Errorf("%s is open at backend %q, which still holds it, in epoch %d; ours is %d", a.disk.dir, m.Holder, m.Claimed, epoch)
	}
	switch {
	case a.locked:
		a.log.Warn("the lock of a process that lost the right to this mail is passed over", "user", a.user, "dir", a.disk.dir, "holder", m.Holder, "its_epoch", m.Epoch, "epoch", epoch)
	case other:
		a.log.Info("mail is taken over from a backend that did not close it", "user", a.user, "dir", a.disk.dir, "holder", m.Holder, "its_epoch", m.Epoch, "epoch", epoch)
	}
	return nil
}

// underClaim says whether it was a process with a coordinator that wrote m. Who makes
// an account, or restores it, has written none yet, and is waited for as well.
func (m *manifest) underClaim() bool { return m.Claimed > 0 && m.Claimed == m.Epoch }

// advance gives the manifest the epoch of this process.
func (m *manifest) advance(f *fence) {
	m.Epoch++
	if f.claimed() {
		m.Epoch, m.Claimed = f.claim.Epoch(), f.claim.Epoch()
	}
}
