package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// CommitCheck says what a Claim's Confirm asks.
type CommitCheck string

// The checks. The clock alone assumes that the machine is never paused: a virtual
// machine's clocks stand still while it is.
const (
	CheckCoordinator CommitCheck = "coordinator"
	CheckClock       CommitCheck = "clock"
)

// HolderConfig is what a Holder needs. All functions may be called by several
// goroutines at once; those that can be nil say so.
type HolderConfig struct {
	Coordinator  Coordinator
	View         *View // of the same Coordinator; somebody else runs it
	Clock        Clock
	Log          *slog.Logger
	Name         string
	Incarnation  string // of this process; no other has had it
	Registration Registration
	Template     Template // director_username_hash, as Params has it

	TTL            time.Duration // of the lease; 0: DefaultTTL, and at least MinTTL
	StorageTimeout time.Duration // after which a write that hangs ends the lease; 0: DefaultStorageTimeout
	CommitCheck    CommitCheck   // "": CheckCoordinator
	Rate           int           // users a second that all backends together give up to others; 0: DefaultRate

	// Release ends the sessions of users that match, back sessions first, with BYE
	// [UNAVAILABLE], and closes their accounts. It gets ReleaseLimit, and is waited for
	// no longer, but must end some day.
	Release func(ctx context.Context, match func(user string) bool) error

	// Suspend is told true when the lease is lost, and false when it is there again
	// with all that nobody else has taken meanwhile. Until then accounts are
	// read-only, and back sessions end at once. It does not wait.
	Suspend func(lost bool)

	// Users are those who have sessions or open accounts here. nil: nobody knows, and
	// each unit counts as one.
	Users func() []string

	// Keys are those that Alive tells of. nil: none.
	Keys func() NodeKeys

	// Probe writes to the volume, until ctx ends if that can be. nil: nothing is probed.
	Probe func(ctx context.Context) error

	// Pending is for how long the oldest durable write has been under way. nil: 0.
	Pending func() time.Duration

	// Confirmed is told how long a read for Confirm took, and how many commits
	// waited for it. It may be nil.
	Confirmed func(took time.Duration, commits int)
}

// Limits and defaults of a Holder.
const (
	DefaultTTL            = 5 * time.Second
	MinTTL                = 3 * time.Second
	DefaultStorageTimeout = 10 * time.Second
	DefaultRate           = 200

	ReleaseLimit  = 5 * time.Second  // for the sessions and accounts of what is given up
	ReadOnlyLimit = 30 * time.Second // from the loss of the lease until all accounts are closed
	ClaimLimit    = 2 * time.Second  // for a user who is on the way here, and for what a director knows already

	callLimit = 2 * time.Second       // for one call of the Coordinator
	planPause = 20 * time.Millisecond // between looks at the Map, while it changes
	maxIdle   = time.Second           // between looks at the clock
)

// Holder is a backend's part in a cluster with a Coordinator: it holds units for as
// long as it keeps its lease, takes those that it should hold, and gives up those
// that another one should. What it holds are users whom no other backend opens.
//
// A unit is held by a record at the Coordinator, which is valid while the backend's
// Alive has the lease that the record names. Taking over opens no account: it is a
// few transactions, whatever the number of users. Nothing that it does for one
// unit waits for another one's sessions.
//
// Its methods may be called by any number of goroutines.
type Holder struct {
	cfg      HolderConfig
	poked    chan struct{} // Run looks again
	renewal  chan struct{} // the keepalive looks again
	tasks    sync.WaitGroup
	confirms confirms

	term       atomic.Pointer[term] // the last lease; set by Run
	generation atomic.Uint64        // of epochs; only grows
	highest    atomic.Int64         // the greatest Revision that the Coordinator answered with
	wentBack   atomic.Bool          // it knows less than it did: nothing is held until the generation grows
	health     *health

	// mu guards what follows. It is taken inside View.Read, never outside, and
	// nothing waits while it is held.
	mu       sync.Mutex
	units    map[Unit]*unit
	handing  map[string]handing // users who leave their slots, or come back
	stopping bool
	status   HolderStatus

	asking    map[string]time.Duration // users of whom another backend is asked; when again at the earliest
	gone      map[string]gone          // and of whom it was
	answering map[string]bool          // users who are given up for one that asks

	// What follows is Run's.
	aliveAt   Revision // of our own record
	told      Alive    // what it says
	life      Life
	stableAt  time.Duration // when we become a candidate
	takesAt   time.Duration // until then others may come back for what they had
	suspended bool          // and told so
	lostAt    time.Duration // when the lease was lost, then
	dropped   bool          // what was held then
	known     Revision      // of the Map, when last looked at
	last      *plan         // that holds still: there was nothing to do, and nothing has changed
	tokens    tokens
	crowd     crowd
	releasing atomic.Bool // a task gives up slots
}

// unit is one that this backend holds. A Claim points to it.
type unit struct {
	Unit
	term   atomic.Pointer[term]              // under which it is held; nil: it is not, and never again
	floors atomic.Pointer[map[string]uint64] // of a slot: Claims of users below an epoch don't count

	// Guarded by Holder.mu.
	rev     Revision // of its record
	leaving bool     // no new Claims
	closed  bool     // and none that is left counts: the record can go
	keep    time.Duration
}

// HolderStatus is for operations and metrics.
type HolderStatus struct {
	Lease     LeaseID       `json:"lease"`
	Left      time.Duration `json:"left"` // until the deadline; negative: the lease is lost
	Candidate bool          `json:"candidate"`
	Trouble   string        `json:"trouble,omitempty"`
	Deaths    int           `json:"deaths"` // how often the lease was lost lately
	Held      int           `json:"held"`   // units
	Wanted    int           `json:"wanted"` // slots that it should hold
	Leaving   int           `json:"leaving"`
	Frozen    bool          `json:"frozen"` // too many backends are gone: nothing is given up to balance
	Taken     uint64        `json:"taken"`  // so far
	Released  uint64        `json:"released"`
	Dropped   uint64        `json:"dropped"`
}

// NewHolder makes a Holder that holds nothing until Run is called.
func NewHolder(cfg HolderConfig) (*Holder, error) {
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.StorageTimeout == 0 {
		cfg.StorageTimeout = DefaultStorageTimeout
	}
	if cfg.CommitCheck == "" {
		cfg.CommitCheck = CheckCoordinator
	}
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Keys == nil {
		cfg.Keys = func() NodeKeys { return NodeKeys{} }
	}
	switch {
	case cfg.TTL < MinTTL:
		return nil, fmt.Errorf("lease of %v: at least %v", cfg.TTL, MinTTL)
	case cfg.Name == "" || len(cfg.Name) > maxName || cfg.Incarnation == "":
		return nil, errors.New("a backend has a name and an incarnation")
	case cfg.CommitCheck != CheckCoordinator && cfg.CommitCheck != CheckClock:
		return nil, fmt.Errorf("commit check %q", cfg.CommitCheck)
	}
	if err := cfg.Registration.check(); err != nil {
		return nil, fmt.Errorf("registration of %s: %w", cfg.Name, err)
	}
	cfg.Log = cfg.Log.With("backend", cfg.Name)
	return &Holder{
		cfg:     cfg,
		poked:   make(chan struct{}, 1),
		renewal: make(chan struct{}, 1),
		units:   map[Unit]*unit{},
		handing: map[string]handing{},
		asking:  map[string]time.Duration{}, gone: map[string]gone{}, answering: map[string]bool{},
		health: &health{limit: cfg.StorageTimeout, pending: cfg.Pending},
	}, nil
}

// Run registers the backend and holds units until ctx ends; then it gives all of them
// up within ReleaseLimit and ends the lease. It fails if another process lives under
// the same name, after it waited for the lease of one that may just have died.
// It is called once.
func (h *Holder) Run(ctx context.Context) error {
	if err := h.cfg.View.Await(ctx, func(m *Map) bool { return m.Revision > 0 }); err != nil {
		return err
	}
	if err := h.join(ctx); err != nil {
		return err
	}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.task(func() { h.keep(lasting) })
	h.task(func() { h.probe(lasting) })
	for ctx.Err() == nil {
		again, changed := h.step(ctx)
		h.wait(ctx, again, changed)
	}
	h.leave(lasting)
	stop()
	h.tasks.Wait()
	return nil
}

// task runs f beside Run, which ends after it.
func (h *Holder) task(f func()) { h.tasks.Go(f) }

// wait returns when there may be something to do, and not before planPause: others may
// be about to change more.
func (h *Holder) wait(ctx context.Context, again time.Duration, changed <-chan struct{}) {
	pause, rest := h.cfg.Clock.After(planPause), h.cfg.Clock.After(min(again, maxIdle))
	select {
	case <-changed:
		h.last = nil
	case <-h.poked:
		h.last = nil
	case <-rest:
	case <-ctx.Done():
	}
	select {
	case <-pause:
	case <-ctx.Done():
	}
}

// poke has Run look again.
func (h *Holder) poke() { wake(h.poked) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// step does what is to be done now. It tells when to look again at the latest, and what
// is closed when the Map changes.
func (h *Holder) step(ctx context.Context) (again time.Duration, changed <-chan struct{}) {
	h.look()
	if !h.leased(ctx) {
		return h.cfg.TTL / 20, nil
	}
	h.tell(ctx)
	p := h.last
	if p == nil || h.suspended {
		p = h.plan()
	}
	h.drop(p.lost, "another backend holds it by the coordinator's record")
	h.take(ctx, p)
	h.goHome(ctx, p.home)
	h.giveUp(p)
	h.handOver(p.handOver)
	h.answer(p.answers)
	if h.suspended && !p.unarmed && h.term.Load().holds(h.cfg.Clock.Now()) {
		h.resume()
	}
	h.last = nil
	if p.idle() {
		h.last = p
	}
	return p.again, p.changed
}

// look sees whether the Coordinator went back, and which generation this is.
func (h *Holder) look() {
	var at Revision
	var generation uint64
	h.cfg.View.Read(func(m *Map) { at, generation = m.Revision, m.params.Generation })
	before := h.known
	h.known = at
	if h.saw(before, at) == nil && !h.wentBack.Load() && generation > h.generation.Load() {
		h.generation.Store(generation)
	}
}

// Status tells how it is.
func (h *Holder) Status() HolderStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.status
	s.Held, s.Leaving = len(h.units), 0
	for _, u := range h.units {
		if u.leaving {
			s.Leaving++
		}
	}
	if t := h.term.Load(); t != nil {
		s.Lease, s.Left = t.id, t.left(h.cfg.Clock.Now())
	}
	return s
}

// commit asks for a transaction, and notes in the View what it did.
func (h *Holder) commit(ctx context.Context, t Txn) (at Revision, ok bool, err error) {
	before := h.highest.Load()
	ctx, done := context.WithTimeout(ctx, callLimit)
	defer done()
	at, ok, err = h.cfg.Coordinator.Commit(ctx, t)
	if err != nil {
		return 0, false, err
	}
	if err := h.saw(Revision(before), at); err != nil {
		return 0, false, err
	}
	return at, ok, nil
}

// ask is get that waits for callLimit at most.
func (h *Holder) ask(ctx context.Context, key string) (KV, error) {
	ctx, done := context.WithTimeout(ctx, callLimit)
	defer done()
	return h.get(ctx, key)
}

// get reads one key as it is now. Changed is 0 if there is none.
func (h *Holder) get(ctx context.Context, key string) (KV, error) {
	before := h.highest.Load()
	kvs, at, err := h.cfg.Coordinator.Range(ctx, key)
	if err != nil {
		return KV{}, err
	}
	if err := h.saw(Revision(before), at); err != nil {
		return KV{}, err
	}
	i := slices.IndexFunc(kvs, func(kv KV) bool { return kv.Key == key })
	if i < 0 {
		return KV{}, nil
	}
	return kvs[i], nil
}

// saw checks that the Coordinator has not gone back to before a revision that was
// known when it was asked. If it has, another backend may hold what we think we do.
func (h *Holder) saw(before, at Revision) error {
	if at < before {
		if h.wentBack.CompareAndSwap(false, true) {
			h.cfg.Log.Error("the coordinator went back: nothing is held here until roost cluster new-generation was run",
				"revision", at, "before", before, "generation", h.generation.Load())
		}
		if t := h.term.Load(); t != nil {
			t.end()
		}
		h.poke()
		return errWentBack
	}
	for {
		highest := h.highest.Load()
		if int64(at) <= highest || h.highest.CompareAndSwap(highest, int64(at)) {
			return nil
		}
	}
}
