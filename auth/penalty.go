package auth

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	penaltyShards = 16
	penaltyKeys   = 4096            // keys a shard remembers
	penaltyDecay  = time.Minute     // after so long without a failure the delay falls one step
	penaltyFirst  = 2 * time.Second // the delay after the first failure; it doubles
	penaltyGate   = 8               // attempts of a key at once
	penaltyQueue  = 4               // how many delays may wait behind each other
)

// errQueue is the cause where too many attempts of one key wait already.
var errQueue = errors.New("too many attempts of this login are waiting")

// penaltyKey is who is delayed: one login from one client. Other users behind the
// same proxy, backend or web mail have other keys.
type penaltyKey struct {
	client       netip.Addr // IPv6: its /64
	user, acting string
}

func newPenaltyKey(client netip.Addr, login Login) penaltyKey {
	client = client.Unmap().WithZone("")
	if client.Is6() {
		if prefix, err := client.Prefix(64); err == nil {
			client = prefix.Addr()
		}
	}
	return penaltyKey{client, login.User, login.Acting}
}

// penalties delay who guesses. A key's attempts wait before their passwords are
// looked at: after failures 2, 4, 8 … seconds, at most limit; those that come
// together wait behind each other. Without failures penaltyGate attempts of a key
// run at once, so that a thousand connections are not a thousand free guesses.
// Memory is bounded: of too many keys the oldest is forgotten. Safe for
// concurrent use.
type penalties struct {
	limit  time.Duration
	seed   maphash.Seed // unknown to clients, so that they cannot crowd one shard
	shards [penaltyShards]penaltyShard
}

type penaltyShard struct {
	mu   sync.Mutex
	keys *lru[penaltyKey, penalty]
}

// penalty is the state of one key.
type penalty struct {
	level   int
	failed  time.Time // the last failure or step of decay
	next    time.Time // when the attempt that waits last may go on
	lastBad [32]byte  // keyed hash of the last wrong password
	gate    chan struct{}
}

// newPenalties delays by at most limit; 0 is never.
func newPenalties(limit time.Duration) *penalties {
	p := &penalties{limit: limit, seed: maphash.MakeSeed()}
	for i := range p.shards {
		p.shards[i].keys = newLRU[penaltyKey, penalty](penaltyKeys)
	}
	return p
}

func (p *penalties) shard(key penaltyKey) *penaltyShard {
	return &p.shards[maphash.Comparable(p.seed, key)%penaltyShards]
}

// enter returns when an attempt of key may go on; leave must be called when its
// outcome is counted. It fails if ctx ends before, or at once if too many
// attempts of key wait already.
func (p *penalties) enter(ctx context.Context, key penaltyKey) (leave func(), err error) {
	if p.limit <= 0 {
		return func() {}, nil
	}
	gate := p.gate(key)
	select {
	case gate <- struct{}{}:
	default:
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	delay, err := p.reserve(key, time.Now())
	if err == nil && delay == 0 {
		return func() { p.leave(key, gate) }, nil
	}
	p.leave(key, gate) // from here the delays keep attempts apart
	if err == nil {
		err = sleep(ctx, delay)
	}
	return func() {}, err
}

func (p *penalties) gate(key penaltyKey) chan struct{} {
	shard := p.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	state := shard.keys.get(key)
	if state == nil {
		state = shard.keys.put(key, penalty{gate: make(chan struct{}, penaltyGate)})
	}
	return state.gate
}

// leave gives the place in the gate back. The last one out forgets a key without
// failures.
func (p *penalties) leave(key penaltyKey, gate chan struct{}) {
	shard := p.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	<-gate
	if state := shard.keys.get(key); state != nil && state.gate == gate && state.level == 0 && len(gate) == 0 {
		shard.keys.remove(key)
	}
}

// reserve is how long an attempt of key has to wait, behind those before it.
func (p *penalties) reserve(key penaltyKey, now time.Time) (time.Duration, error) {
	shard := p.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	state := shard.keys.get(key)
	if state == nil {
		return 0, nil
	}
	state.decay(now)
	delay := p.delay(state.level)
	if delay == 0 {
		return 0, nil
	}
	start := now.Add(delay)
	if state.next.After(now) {
		start = state.next.Add(delay)
	}
	if start.Sub(now) > penaltyQueue*p.limit {
		return 0, errQueue
	}
	state.next = start
	return start.Sub(now), nil
}

// failed counts a wrong password; sum is its keyed hash. The same wrong password
// again is a client with an old one, not a guess, and raises nothing.
func (p *penalties) failed(key penaltyKey, sum [32]byte) {
	shard := p.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	state := shard.keys.get(key)
	if p.limit <= 0 || state == nil {
		return // switched off, or forgotten for newer keys
	}
	now := time.Now()
	state.decay(now)
	if (state.level == 0 || state.lastBad != sum) && p.delay(state.level) < p.limit {
		state.level++
	}
	state.failed, state.lastBad = now, sum
}

// succeeded forgets the failures of key.
func (p *penalties) succeeded(key penaltyKey) {
	shard := p.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if state := shard.keys.get(key); state != nil {
		*state = penalty{gate: state.gate}
	}
}

func (p *penalties) delay(level int) time.Duration {
	if level == 0 {
		return 0
	}
	return min(penaltyFirst<<(level-1), p.limit)
}

func (s *penalty) decay(now time.Time) {
	steps := int(now.Sub(s.failed) / penaltyDecay)
	if steps <= 0 {
		return
	}
	s.level = max(s.level-steps, 0)
	s.failed = s.failed.Add(time.Duration(steps) * penaltyDecay)
}

// sleep waits for d or the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
