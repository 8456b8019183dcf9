package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// KeeperConfig is what a Keeper needs. Its functions may be called by several
// goroutines at once.
type KeeperConfig struct {
	Coordinator Coordinator
	View        *View // of the same Coordinator; somebody else runs it
	Clock       Clock
	Log         *slog.Logger
	Name        string // of the director
	Record      DirectorRecord
	Template    Template // director_username_hash, as Params has it

	TTL time.Duration // of the director's lease; 0: DefaultTTL, and at least MinTTL

	// Health says how checks find a foreign backend; "" is well. ok is false while they
	// have come to no conclusion.
	Health func(backend string) (trouble string, ok bool)

	// Fence makes sure that a foreign backend that can't be reached writes nothing any
	// more (cluster_fence_command). It gets FenceLimit. nil: nothing can.
	Fence func(ctx context.Context, backend string) error
}

// The limits of a Keeper.
const (
	// ForeignTTL is the lease of a foreign backend, which outlives the director that
	// keeps it until another one does.
	ForeignTTL = 30 * time.Second
	FenceLimit = time.Minute

	fencePause   = 30 * time.Second // between attempts to fence
	movesAtOnce  = 256              // units of foreign backends that leave
	movesEvery   = time.Second      // is when more of them begin to, if there is no hurry
	complainTime = 10 * time.Second // after which it is said who is waited for
)

// Keeper is a director's part in a cluster with backends that are no Roost: these
// can't hold leases, so one of the directors, elected by a key, holds their units
// on their behalf. What fences a Roost backend that was left behind is its own deadline;
// here it is that of the directors, through whom alone clients come:
//
//   - Every session that a director hands on to a foreign backend has a Pass. It
//     ends at the director's own deadline, and when its unit leaves its backend.
//   - Before a unit goes to another backend its record says that it is leaving: no
//     director gives Passes any more, and each confirms when the last of its own has
//     ended. One that does not confirm has to lose its lease first.
//   - A backend that can't be reached may be writing still, for its sessions or by
//     itself: its units stay, unless Fence has succeeded or the administrator says that it
//     has stopped (Wish.Stopped). Without either this is no better than a director of Dovecot.
//
// The backends of a tag are all foreign or none is. Pins are not for foreign backends:
// the passdb's field `host` is.
//
// Its methods may be called by any number of goroutines.
type Keeper struct {
	cfg     KeeperConfig
	poked   chan struct{}
	renewal chan struct{}
	term    atomic.Pointer[term] // of the director's lease; set by Run
	tasks   sync.WaitGroup

	mu       sync.Mutex // guards what follows; taken inside View.Read, never outside
	passes   map[*Pass]struct{}
	leaving  bool
	from     Revision          // Passes need a Map as new as the director's record is
	fences   map[string]*fence // by backend
	isKeeper bool

	// What follows is Run's.
	record   DirectorRecord
	recordAt Revision
	looked   Revision                 // Map.Changed when due was found out
	due      Revision                 // when the last of the units that leave began to
	settled  map[string]bool          // the silent when all was assigned as it should be
	assigned Revision                 // Map.Changed then
	batchAt  time.Duration            // when units began to leave last
	known    map[string]time.Duration // complaints, by what they are about
}

// fence is what was done about a backend that can't be reached.
type fence struct {
	running bool
	done    bool
	next    time.Duration // when it is tried again
}

// NewKeeper makes a Keeper that does nothing until Run is called.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	switch {
	case cfg.TTL < MinTTL:
		return nil, fmt.Errorf("lease of %v: at least %v", cfg.TTL, MinTTL)
	case cfg.Name == "" || len(cfg.Name) > maxName || cfg.Record.Incarnation == "":
		return nil, errors.New("a director has a name and an incarnation")
	}
	cfg.Log = cfg.Log.With("director", cfg.Name)
	k := &Keeper{
		cfg: cfg, poked: make(chan struct{}, 1), renewal: make(chan struct{}, 1),
		passes: map[*Pass]struct{}{}, fences: map[string]*fence{}, known: map[string]time.Duration{},
		record: cfg.Record,
	}
	k.term.Store(newEndedTerm())
	return k, nil
}

func newEndedTerm() *term {
	t := &term{}
	t.end()
	return t
}

// Run registers the director, gives Passes while it has a lease, and keeps the foreign
// backends if it is elected, until ctx ends. Then all Passes end, and with them
// confirmed the lease. It is called once.
func (k *Keeper) Run(ctx context.Context) {
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	k.tasks.Go(func() { k.renewing(lasting) })
	for ctx.Err() == nil {
		changed := k.step(ctx)
		select {
		case <-changed:
			select {
			case <-k.cfg.Clock.After(planPause):
			case <-ctx.Done():
			}
		case <-k.poked:
		case <-k.cfg.Clock.After(k.wait()):
		case <-ctx.Done():
		}
	}
	k.leave(lasting)
	stop()
	k.tasks.Wait()
}

// wait is until when there may be something to do: not beyond the deadline.
func (k *Keeper) wait() time.Duration {
	most := k.cfg.TTL / 10
	if left := k.term.Load().left(k.cfg.Clock.Now()); left > 0 {
		return min(most, left+time.Millisecond)
	}
	return most
}

// step does what is to be done now.
func (k *Keeper) step(ctx context.Context) (changed <-chan struct{}) {
	var at Revision
	k.cfg.View.Read(func(m *Map) { at, changed = m.Revision, k.cfg.View.changed })
	if at == 0 {
		return changed
	}
	if t := k.term.Load(); !t.holds(k.cfg.Clock.Now()) {
		k.endAll("the director's lease is lost")
		if !t.hasEnded() {
			return changed // it may be renewed yet, and nothing is given to others before
		}
		if err := k.register(ctx); err != nil {
			k.complain("lease", "the director can't get a lease: it lets nobody in to foreign backends", "err", err)
			return changed
		}
	}
	k.confirm(ctx)
	if k.elected(ctx) {
		k.keep(ctx)
	}
	return changed
}

// register makes the director's lease, and its record with it. A record that is
// there is one of an earlier life of this director.
func (k *Keeper) register(ctx context.Context) error {
	sent := k.cfg.Clock.Now()
	asking, done := context.WithTimeout(ctx, callLimit)
	defer done()
	id, granted, err := k.cfg.Coordinator.Grant(asking, k.cfg.TTL)
	if err != nil {
		return err
	}
	kvs, _, err := k.cfg.Coordinator.Range(asking, keyDirectors+k.cfg.Name)
	if err != nil {
		return err
	}
	condition := Condition{Key: keyDirectors + k.cfg.Name}
	for _, kv := range kvs {
		var other DirectorRecord
		switch {
		case kv.Key != condition.Key:
		case read(kv, &other) == nil && other.Incarnation != k.cfg.Record.Incarnation:
			return fmt.Errorf("another process is director %s, incarnation %q: its lease has to end first", k.cfg.Name, other.Incarnation)
		default:
			condition.Changed = kv.Changed
		}
	}
	next := k.cfg.Record
	next.Since, next.Confirmed = time.Now(), 0
	at, ok, err := k.commit(asking, Txn{
		If:   []Condition{condition},
		Then: []Op{{Key: condition.Key, Value: encode(next), Lease: id}},
	})
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("the director's record has just changed")
	}
	k.record, k.recordAt = next, at
	k.mu.Lock()
	k.from = at
	k.mu.Unlock()
	t := &term{id: id}
	t.extend(sent, granted)
	k.term.Store(t)
	wake(k.renewal)
	k.cfg.Log.Info("the director has a lease", "lease", id, "ttl", granted, "revision", at)
	return nil
}

// commit asks for a transaction, and notes in the View what it did.
func (k *Keeper) commit(ctx context.Context, t Txn) (at Revision, ok bool, err error) {
	ctx, done := context.WithTimeout(ctx, callLimit)
	defer done()
	at, ok, err = k.cfg.Coordinator.Commit(ctx, t)
	if err == nil && ok {
		k.cfg.View.Note(t, at)
	}
	return at, ok, err
}

// renewing keeps the director's lease until ctx ends.
func (k *Keeper) renewing(ctx context.Context) {
	for ctx.Err() == nil {
		wait := k.cfg.TTL / 3
		if t := k.term.Load(); !t.hasEnded() && !k.renew(ctx, t) {
			wait = k.cfg.TTL / 20
		}
		select {
		case <-k.cfg.Clock.After(wait):
		case <-k.renewal:
		case <-ctx.Done():
		}
	}
}

func (k *Keeper) renew(ctx context.Context, t *term) (ok bool) {
	sent := k.cfg.Clock.Now()
	ctx, done := context.WithTimeout(ctx, k.cfg.TTL/5)
	defer done()
	granted, err := k.cfg.Coordinator.KeepAlive(ctx, t.id)
	if errors.Is(err, ErrNoLease) {
		t.end()
		wake(k.poked)
	}
	if err == nil {
		t.extend(sent, granted)
	}
	return err == nil
}

// confirm tells the cluster up to which revision no session of ours is where it must
// not be any more.
func (k *Keeper) confirm(ctx context.Context) {
	due, at := k.look()
	if due <= k.record.Confirmed || at < due { // of our own transactions the Map knows ahead of others'
		return
	}
	next := k.record
	next.Confirmed = at
	t := Txn{
		If:   []Condition{{keyDirectors + k.cfg.Name, k.recordAt}},
		Then: []Op{{Key: keyDirectors + k.cfg.Name, Value: encode(next), Lease: k.term.Load().id}},
	}
	rev, ok, err := k.commit(ctx, t)
	switch {
	case err != nil:
		k.complain("confirm", "the director can't confirm that its sessions have ended", "err", err)
	case !ok: // it may have been done without our hearing of it, or the lease has ended
		k.term.Load().end()
	default:
		k.record, k.recordAt = next, rev
	}
}

// look ends the Passes of units that leave, or are elsewhere. due is the revision of the last
// unit to leave if none of them is left, else 0; at that of the Map.
func (k *Keeper) look() (due, at Revision) {
	k.cfg.View.Read(func(m *Map) {
		k.mu.Lock()
		defer k.mu.Unlock()
		at = m.Revision
		if m.Changed != k.looked {
			k.looked, k.due = m.Changed, m.lastLeaving()
		}
		due = k.due
		for p := range k.passes {
			if !m.admits(p.unit, p.backend) {
				p.over("the user's unit is leaving " + p.backend)
				due = 0
			}
		}
	})
	return due, at
}

// admits says that a foreign backend may have new sessions of a unit.
func (m *Map) admits(u Unit, backend string) bool {
	held, _ := m.Held(u)
	return held.Backend == backend && !held.Leaving && m.Holds(held)
}

// complain logs what goes on being wrong, once a minute.
func (k *Keeper) complain(about, text string, args ...any) {
	now := k.cfg.Clock.Now()
	if last, ok := k.known[about]; ok && now-last < time.Minute {
		return
	}
	if len(k.known) > 4*MaxMembers {
		clear(k.known)
	}
	k.known[about] = now
	k.cfg.Log.Error(text, args...)
}

// leave ends all sessions, then the lease.
func (k *Keeper) leave(ctx context.Context) {
	k.mu.Lock()
	k.leaving = true
	k.mu.Unlock()
	k.endAll("the director is shutting down")
	limit := k.cfg.Clock.After(ReleaseLimit)
	for k.Passes() > 0 {
		select {
		case <-k.poked:
		case <-limit:
			return // the lease ends by itself, after the deadline
		}
	}
	if t := k.term.Load(); !t.hasEnded() {
		ctx, done := context.WithTimeout(ctx, callLimit)
		defer done()
		if err := k.cfg.Coordinator.Revoke(ctx, t.id); err != nil {
			k.cfg.Log.Warn("the director's lease could not be ended, and will end by itself", "err", err)
		}
		t.end()
	}
}

// Pass lets one session through to a foreign backend. It has to be had before anything
// is sent there, and given back when nothing can be sent any more.
type Pass struct {
	keeper  *Keeper
	unit    Unit
	backend string

	// Guarded by keeper.mu.
	end   func(why string) // nil before Notify
	ended bool
	why   string
}

// ErrNoPass says that a user is not at a backend, or not any more, or that this director
// has no lease: it has to ask where the user is again.
var ErrNoPass = errors.New("no session may be begun there now")

// Pass asks for a session of a user at a foreign backend that Routes has named.
func (k *Keeper) Pass(user string, backend string) (*Pass, error) {
	var p *Pass
	k.cfg.View.Read(func(m *Map) {
		k.mu.Lock()
		defer k.mu.Unlock()
		n, _ := m.Node(backend)
		u := m.UnitOf(user, n.Registration.Tag, SlotOf(k.cfg.Template, user))
		if k.leaving || m.Revision < k.from || !k.term.Load().holds(k.cfg.Clock.Now()) || !m.admits(u, backend) {
			return
		}
		p = &Pass{keeper: k, unit: u, backend: backend}
		k.passes[p] = struct{}{}
	})
	if p == nil {
		return nil, ErrNoPass
	}
	return p, nil
}

// Notify has end called, once and by a goroutine of its own, when the session has to
// end: at once, and then the Pass is given back. Perhaps that is now.
func (p *Pass) Notify(end func(why string)) {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	if p.ended {
		go end(p.why)
		return
	}
	p.end = end
}

// Done gives the Pass back. It may be called again.
func (p *Pass) Done() {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	delete(p.keeper.passes, p)
	if p.ended {
		wake(p.keeper.poked)
	}
}

// over has the session end. keeper.mu is held.
func (p *Pass) over(why string) {
	if p.ended {
		return
	}
	p.ended, p.why = true, why
	if p.end != nil {
		go p.end(why)
	}
}

func (k *Keeper) endAll(why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.passes {
		p.over(why)
	}
}

// Passes is how many sessions foreign backends have from here.
func (k *Keeper) Passes() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.passes)
}

// IsKeeper says whether this director keeps the foreign backends.
func (k *Keeper) IsKeeper() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.isKeeper && k.term.Load().holds(k.cfg.Clock.Now())
}
