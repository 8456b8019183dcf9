package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/roost-mail/roost/metric"
)

// Measured is a Coordinator that counts what it is asked.
type Measured struct {
	Coordinator
	clock Clock
	calls [operations][len(callResults)]metric.Histogram
}

// Measure makes c count.
func Measure(c Coordinator, clock Clock) *Measured { return &Measured{Coordinator: c, clock: clock} }

// Call is one kind of call of a Coordinator.
type Call struct {
	Operation string // range, commit, watch, grant, keepalive, revoke
	Result    string // ok; conflict: it answered that the condition does not hold, or is no more; failed: it did not answer
}

const (
	opRange = iota
	opCommit
	opWatch
	opGrant
	opKeepAlive
	opRevoke
	operations
)

var operationNames = [operations]string{"range", "commit", "watch", "grant", "keepalive", "revoke"}

const (
	callOK = iota
	callConflict
	callFailed
)

var callResults = [...]string{"ok", "conflict", "failed"}

// Calls are those that have ended, and how long they took. A Watch takes no time.
func (m *Measured) Calls() map[Call]metric.Snapshot {
	all := map[Call]metric.Snapshot{}
	for op, name := range operationNames {
		for i, result := range callResults {
			if s := m.calls[op][i].Read(); s.Count > 0 {
				all[Call{name, result}] = s
			}
		}
	}
	return all
}

// note counts a call. One that its caller called off counts for nothing.
func (m *Measured) note(ctx context.Context, op int, began time.Duration, result int, err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrNoLease), errors.Is(err, ErrCompacted):
		result = callConflict
	case errors.Is(context.Cause(ctx), context.Canceled):
		return
	default:
		result = callFailed
	}
	m.calls[op][result].Observe(m.clock.Now() - began)
}

// Range implements Coordinator.
func (m *Measured) Range(ctx context.Context, prefix string) ([]KV, Revision, error) {
	began := m.clock.Now()
	kvs, at, err := m.Coordinator.Range(ctx, prefix)
	m.note(ctx, opRange, began, callOK, err)
	return kvs, at, err
}

// Commit implements Coordinator.
func (m *Measured) Commit(ctx context.Context, t Txn) (Revision, bool, error) {
	began, result := m.clock.Now(), callOK
	at, ok, err := m.Coordinator.Commit(ctx, t)
	if !ok {
		result = callConflict
	}
	m.note(ctx, opCommit, began, result, err)
	return at, ok, err
}

// Watch implements Coordinator.
func (m *Measured) Watch(ctx context.Context, prefix string, after Revision, deliver func([]Event, Revision)) error {
	err := m.Coordinator.Watch(ctx, prefix, after, deliver)
	m.note(ctx, opWatch, m.clock.Now(), callOK, err)
	return err
}

// Grant implements Coordinator.
func (m *Measured) Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	began := m.clock.Now()
	id, ttl, err := m.Coordinator.Grant(ctx, ttl)
	m.note(ctx, opGrant, began, callOK, err)
	return id, ttl, err
}

// KeepAlive implements Coordinator.
func (m *Measured) KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error) {
	began := m.clock.Now()
	ttl, err := m.Coordinator.KeepAlive(ctx, id)
	m.note(ctx, opKeepAlive, began, callOK, err)
	return ttl, err
}

// Revoke implements Coordinator.
func (m *Measured) Revoke(ctx context.Context, id LeaseID) error {
	began := m.clock.Now()
	err := m.Coordinator.Revoke(ctx, id)
	m.note(ctx, opRevoke, began, callOK, err)
	return err
}
