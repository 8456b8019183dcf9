package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

const (
	probation    = 30 * time.Second // of life before a backend that had died is a candidate; doubled by each death more
	maxProbation = 10 * time.Minute
	calm         = time.Hour // of life after which deaths are forgotten
)

// term is the time of one lease.
type term struct {
	id LeaseID

	// deadline is by the Clock until when the Coordinator has certainly not ended the
	// lease; ended, when it has.
	deadline atomic.Int64
}

const ended = -1 << 62

// margin is by how much the deadline lies before the end of a lease, so that the
// backend has stopped before another one begins.
func margin(granted time.Duration) time.Duration { return max(time.Second, granted/5) }

// extend moves the deadline for a keepalive that was sent at some time.
func (t *term) extend(sent, granted time.Duration) {
	next := int64(sent + granted - margin(granted))
	for {
		d := t.deadline.Load()
		if d == ended || d >= next || t.deadline.CompareAndSwap(d, next) {
			return
		}
	}
}

func (t *term) end() { t.deadline.Store(ended) }

func (t *term) hasEnded() bool { return t.deadline.Load() == ended }

func (t *term) left(now time.Duration) time.Duration {
	return time.Duration(t.deadline.Load()) - now
}

func (t *term) holds(now time.Duration) bool { return t != nil && int64(now) < t.deadline.Load() }

// join registers the backend at its start, however long the Coordinator can't be asked.
func (h *Holder) join(ctx context.Context) error {
	for {
		err := h.tryJoin(ctx)
		if err == nil || errors.Is(err, errUsurped) || errors.Is(err, errOtherKind) {
			return err
		}
		h.cfg.Log.Warn("this backend can't register with the coordinator yet", "err", err)
		select {
		case <-h.cfg.Clock.After(retryMost):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errOtherKind is a backend that would come into a tag of others, of which no two keep the same mail.
// Already its registration would end what directors do to keep these (Keeper).
var errOtherKind = errors.New("backends of one tag are all Roost, or none is")

func (h *Holder) tryJoin(ctx context.Context) error {
	tag := h.cfg.Registration.Tag
	var others []string
	h.cfg.View.Read(func(m *Map) { others = m.Kinds()[tag].Foreign })
	if len(others) > 0 {
		return fmt.Errorf("%w: with the tag %q there are %s, no Roost, whose users stay as they are: give this backend a tag of its own (cluster_tag), and its users the same director_tag; or say roost director remove of those",
			errOtherKind, tag, strings.Join(others, " "))
	}
	seen, err := h.awaitName(ctx)
	if err != nil {
		return err
	}
	kv, err := h.ask(ctx, keyLives+h.cfg.Name)
	if err != nil {
		return fmt.Errorf("the record of earlier lives: %w", err)
	}
	h.life = Life{}
	if kv.Changed != 0 {
		if err := read(kv, &h.life); err != nil {
			h.cfg.Log.Error("record of the coordinator", "key", kv.Key, "err", err)
		}
		if !h.life.Clean {
			h.life.Deaths++
		}
	}
	return h.register(ctx, seen)
}

// awaitName waits while another process lives under our name, for as long as the
// lease of one that has died may last. It returns our Alive's revision, if there is one.
func (h *Holder) awaitName(ctx context.Context) (Revision, error) {
	limit := h.cfg.Clock.Now() + 2*h.cfg.TTL + callLimit
	for first := true; ; first = false {
		kv, err := h.ask(ctx, keyAlive+h.cfg.Name)
		if err != nil {
			return 0, fmt.Errorf("whether %s is alive already: %w", h.cfg.Name, err)
		}
		var other Alive
		if kv.Changed == 0 || read(kv, &other) == nil && other.Incarnation == h.cfg.Incarnation {
			return kv.Changed, nil
		}
		if h.cfg.Clock.Now() > limit {
			return 0, fmt.Errorf("%w: incarnation %q since %v; each backend needs a cluster_name of its own",
				errUsurped, other.Incarnation, other.Since.Format(time.RFC3339))
		}
		if first {
			h.cfg.Log.Warn("a process with this backend's name has a lease still; waiting for its end",
				"incarnation", other.Incarnation, "since", other.Since, "revision", kv.Changed)
		}
		select {
		case <-h.cfg.Clock.After(h.cfg.TTL / 20):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// register makes a lease, and an Alive that has it. seen is the revision of an Alive
// that is our own.
func (h *Holder) register(ctx context.Context, seen Revision) error {
	sent := h.cfg.Clock.Now()
	asking, done := context.WithTimeout(ctx, callLimit)
	defer done()
	id, granted, err := h.cfg.Coordinator.Grant(asking, h.cfg.TTL)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	h.stableAt, h.takesAt = sent, sent
	if h.life.Deaths > 0 {
		h.stableAt += min(probation<<min(h.life.Deaths-1, 10), maxProbation)
		h.takesAt += h.cfg.TTL
	}
	alive := Alive{
		Incarnation: h.cfg.Incarnation, Since: time.Now(), Candidate: h.stableAt <= sent, Trouble: h.health.trouble(sent),
		Keys: h.cfg.Keys(),
	}
	h.life.Clean = false
	t := Txn{
		If: []Condition{{keyAlive + h.cfg.Name, seen}},
		Then: []Op{
			{Key: keyAlive + h.cfg.Name, Value: encode(alive), Lease: id},
			{Key: keyBackends + h.cfg.Name, Value: encode(h.cfg.Registration)},
			{Key: keyLives + h.cfg.Name, Value: encode(h.life)},
		},
	}
	at, ok, err := h.commit(ctx, t)
	switch {
	case err != nil:
		return fmt.Errorf("registration: %w", err)
	case !ok:
		return fmt.Errorf("registration: another process has just become backend %s", h.cfg.Name)
	}
	next := &term{id: id}
	next.extend(sent, granted)
	h.term.Store(next)
	h.aliveAt, h.told = at, alive
	h.cfg.View.Note(t, at)
	wake(h.renewal)
	h.cfg.Log.Info("registered with the coordinator", "incarnation", h.cfg.Incarnation, "lease", id, "ttl", granted,
		"revision", at, "deaths", h.life.Deaths, "candidateIn", max(0, h.stableAt-sent))
	return nil
}

// encode is a record's JSON.
func encode(record any) []byte {
	value, err := json.Marshal(record)
	if err != nil {
		panic("record: " + err.Error()) // they are made of strings and numbers
	}
	return extend(value)
}

// leased sees to the lease, and says whether there is one. While there is none, accounts
// are read-only; after ReadOnlyLimit they are closed.
func (h *Holder) leased(ctx context.Context) bool {
	t, now := h.term.Load(), h.cfg.Clock.Now()
	if !t.holds(now) && !h.suspended {
		h.suspend(t, now)
	}
	if h.suspended && !h.dropped && (h.wentBack.Load() || now-h.lostAt >= ReadOnlyLimit) {
		h.dropped = true
		h.dropAll()
	}
	if t.hasEnded() && h.health.stalled(now) == "" && h.mayReturn() {
		if err := h.again(ctx); err != nil {
			h.health.keptAlive(err)
		}
	}
	return h.term.Load().holds(h.cfg.Clock.Now())
}

func (h *Holder) suspend(t *term, now time.Duration) {
	h.suspended, h.dropped, h.lostAt = true, false, now
	if !t.hasEnded() {
		h.lostAt = time.Duration(t.deadline.Load())
	}
	h.cfg.Suspend(true)
	h.cfg.Log.Error("the lease is lost: all users are read-only now", "lease", t.id, "units", h.Status().Held,
		"why", h.health.why(now), "closedIn", ReadOnlyLimit-(now-h.lostAt))
}

// resume is called when there is a lease again, under which everything is held that
// is.
func (h *Holder) resume() {
	h.suspended = false
	h.cfg.Suspend(false)
	h.cfg.Log.Info("the lease is there again", "lease", h.term.Load().id, "units", h.Status().Held, "after", h.cfg.Clock.Now()-h.lostAt)
}

// mayReturn says whether the cluster's generation is one in which we may hold units.
func (h *Holder) mayReturn() bool {
	if !h.wentBack.Load() {
		return true
	}
	var generation uint64
	h.cfg.View.Read(func(m *Map) { generation = m.params.Generation })
	if generation <= h.generation.Load() || !h.dropped {
		return false
	}
	h.highest.Store(0)
	h.wentBack.Store(false)
	return true
}

// again registers after the lease has ended.
func (h *Holder) again(ctx context.Context) error {
	kv, err := h.ownAlive(ctx)
	if err != nil {
		return err
	}
	h.life.Deaths++
	if err := h.register(ctx, kv.Changed); err != nil {
		h.life.Deaths--
		return err
	}
	return nil
}

// ownAlive is our own record at the Coordinator; Changed is 0 if there is none.
func (h *Holder) ownAlive(ctx context.Context) (KV, error) {
	kv, err := h.ask(ctx, keyAlive+h.cfg.Name)
	if err != nil || kv.Changed == 0 {
		return KV{}, err
	}
	var a Alive
	if err := read(kv, &a); err != nil || a.Incarnation != h.cfg.Incarnation {
		return KV{}, fmt.Errorf("%w: incarnation %q since %v", errUsurped, a.Incarnation, a.Since.Format(time.RFC3339))
	}
	return kv, nil
}

var errUsurped = errors.New("another process is alive under this backend's name")

// tell writes our Alive if it should say something else.
func (h *Holder) tell(ctx context.Context) {
	now := h.cfg.Clock.Now()
	next := h.told
	next.Trouble, next.Keys = h.health.trouble(now), h.cfg.Keys()
	next.Candidate = now >= h.stableAt && next.Trouble == ""
	forget := h.life.Deaths > 0 && now-h.stableAt > calm
	h.note(next)
	if next == h.told && !forget {
		return
	}
	t := h.term.Load()
	txn := Txn{
		If:   []Condition{{keyAlive + h.cfg.Name, h.aliveAt}},
		Then: []Op{{Key: keyAlive + h.cfg.Name, Value: encode(next), Lease: t.id}},
	}
	if forget {
		h.life.Deaths = 0
		txn.Then = append(txn.Then, Op{Key: keyLives + h.cfg.Name, Value: encode(h.life)})
	}
	at, ok, err := h.commit(ctx, txn)
	if err == nil && ok {
		h.cfg.View.Note(txn, at)
		h.cfg.Log.Info("the cluster knows of this backend", "candidate", next.Candidate, "trouble", next.Trouble, "revision", at)
		h.aliveAt, h.told = at, next
		return
	}
	h.recover(ctx, t, err)
}

// recover finds out what became of our Alive after a change that failed.
func (h *Holder) recover(ctx context.Context, t *term, cause error) {
	kv, err := h.ownAlive(ctx)
	if errors.Is(err, errUsurped) || err == nil && kv.Lease != t.id {
		t.end()
	}
	if err != nil {
		h.health.keptAlive(errors.Join(cause, err))
		return
	}
	h.aliveAt = kv.Changed
	if err := read(kv, &h.told); err != nil {
		h.told = Alive{}
	}
}

func (h *Holder) note(a Alive) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status.Candidate, h.status.Trouble, h.status.Deaths = a.Candidate, a.Trouble, h.life.Deaths
}

// keep renews the lease until ctx ends.
func (h *Holder) keep(ctx context.Context) {
	for ctx.Err() == nil {
		wait := h.cfg.TTL / 3
		if t := h.term.Load(); !t.hasEnded() {
			wait = h.renew(ctx, t)
		}
		select {
		case <-h.cfg.Clock.After(wait):
		case <-h.renewal:
		case <-ctx.Done():
		}
	}
}

// renew renews a lease once, unless storage hangs: then this backend must not go on
// holding what it can't serve. It says when to try again.
func (h *Holder) renew(ctx context.Context, t *term) (wait time.Duration) {
	sent := h.cfg.Clock.Now()
	if h.health.stalled(sent) != "" {
		return h.cfg.TTL / 20
	}
	ctx, done := context.WithTimeout(ctx, h.cfg.TTL/5)
	defer done()
	granted, err := h.cfg.Coordinator.KeepAlive(ctx, t.id)
	switch {
	case errors.Is(err, ErrNoLease):
		h.health.keptAlive(err)
		t.end()
		h.poke()
	case err != nil:
		h.health.keptAlive(err)
		return h.cfg.TTL / 20
	default:
		h.health.keptAlive(nil)
		late := !t.holds(h.cfg.Clock.Now())
		t.extend(sent, granted)
		if late {
			h.poke()
		}
	}
	return h.cfg.TTL / 3
}
