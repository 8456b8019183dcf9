package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/roost-mail/roost/imap"
)

var errEvicted = errors.New("the user leaves this backend")

// opening is an Open on its way, with the right to the mail.
type opening struct {
	user  string
	fence fence
	end   context.CancelCauseFunc
}

// evictAtOnce bounds the accounts that one Evict closes at the same time.
const evictAtOnce = 64

// Evict closes the mail of the users that match, under the hands of those who
// have it open: from then on they get UNAVAILABLE. What is not synced is synced first, and
// the manifest names no holder any more, as long as the right to the mail holds;
// without it nothing on disk is touched. Opens on their way end. When ctx
// ends, what is still open is abandoned, whatever the disk does: it acknowledges nothing
// any more. match is called with a lock held and returns at once.
//
// An error names those that were abandoned. New opens are not refused: that is
// for Ownership to do.
func (s *Store) Evict(ctx context.Context, match func(user string) bool) error {
	leaving := s.takeOut(match)
	work := make(chan leaver)
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range min(evictAtOnce, len(leaving)) {
		all.Go(func() {
			for p := range work {
				if err := s.evict(ctx, p); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, p := range leaving {
		work <- p
	}
	close(work)
	all.Wait()
	return errors.Join(errs...)
}

// leaver is an account that was taken out of the table. Its slot may be without it by now:
// then somebody else closes it.
type leaver struct {
	*slot
	account *account
}

// takeOut ends opens, and takes accounts out of the table, so that the next open
// begins anew.
func (s *Store) takeOut(match func(user string) bool) (leaving []leaver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := range s.openings {
		if match(o.user) {
			o.fence.end()
			o.end(errEvicted)
		}
	}
	for _, p := range s.accounts {
		if p.account != nil && match(p.account.user) {
			s.detachLocked(p)
			s.leaving[p.dir] = make(chan struct{})
			leaving = append(leaving, leaver{p, p.account})
		}
	}
	return leaving
}

// evict closes one account, or abandons it when ctx ends. It waits for who closes it already.
func (s *Store) evict(ctx context.Context, p leaver) error {
	defer s.hasLeft(p.dir)
	a := p.account
	if ctx.Err() != nil {
		a.giveUp(context.Cause(ctx))
	}
	closed := make(chan error, 1)
	go func() { closed <- s.closeSlot(context.Background(), p.slot, false) }()
	select {
	case err := <-closed:
		a.disable(errEvicted)
		if err != nil {
			return fmt.Errorf("close the mail of %s: %w", a.user, err)
		}
		return nil
	case <-ctx.Done():
		a.giveUp(context.Cause(ctx))
		return fmt.Errorf("the mail of %s was abandoned: %w", a.user, context.Cause(ctx))
	}
}

// hasLeft lets opens of an evicted account begin.
func (s *Store) hasLeft(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.leaving[dir])
	delete(s.leaving, dir)
}

// closeSlot closes the account of p, if there is one still.
func (s *Store) closeSlot(ctx context.Context, p *slot, sweep bool) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	a := p.account
	if a == nil {
		return nil
	}
	s.clear(p)
	return a.close(sweep)
}

// detach takes an account out of the table: the next open begins anew. Those who
// use it keep it.
func (s *Store) detach(p *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detachLocked(p)
}

func (s *Store) detachLocked(p *slot) {
	p.detached = true
	if s.accounts[p.dir] == p {
		delete(s.accounts, p.dir)
	}
}

func (s *Store) isDetached(p *slot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.detached
}

// claim asks for the right to a user's mail, and notes that it is being opened: Evict
// ends what is done under the context returned. The caller calls opened.
func (s *Store) claim(ctx context.Context, user string) (context.Context, *opening, error) {
	ctx, end := context.WithCancelCause(ctx)
	o := &opening{user: user, end: end}
	if s.options.Ownership == nil {
		return ctx, o, nil
	}
	s.mu.Lock()
	s.openings[o] = struct{}{}
	s.mu.Unlock()
	var err error
	if o.fence.claim, err = s.options.Ownership.Claim(ctx, user); err != nil {
		s.opened(o)
		s.options.Log.Info("mail is not held here", "user", user, "error", err)
		if imap.CodeOf(err) != imap.CodeUnavailable {
			err = unavailable(err)
		}
		return nil, nil, err
	}
	return ctx, o, nil
}

// opened ends an opening.
func (s *Store) opened(o *opening) {
	s.mu.Lock()
	delete(s.openings, o)
	s.mu.Unlock()
	o.end(nil)
}

// publish puts an account that was opened in its place, unless the user was
// evicted meanwhile. From then on Evict finds it there.
func (s *Store) publish(p *slot, a *account, o *opening) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.fence.ended.Load() {
		return errEvicted
	}
	p.account = a
	delete(s.openings, o)
	return nil
}

// clear takes an account out of its place. The caller has locked p.
func (s *Store) clear(p *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.account = nil
}
