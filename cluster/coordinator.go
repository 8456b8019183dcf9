package cluster

import (
	"context"
	"errors"
	"time"
)

// Coordinator is what the nodes of a cluster agree by: a small store of keys with
// leases, which answers the same to all of them. Package cluster keeps nothing per
// session in it. Its methods may be called by any number of goroutines.
//
// An error other than those named here means that the Coordinator could not be
// asked; what Commit was to do may then have been done.
type Coordinator interface {
	// Range gives the keys that begin with prefix, in order, as they are now
	// (linearizable), and the revision at which that holds.
	Range(ctx context.Context, prefix string) ([]KV, Revision, error)

	// Commit does all of t.Then at once if all of t.If holds. revision is that of the
	// change if ok, else the present one.
	Commit(ctx context.Context, t Txn) (revision Revision, ok bool, err error)

	// Watch calls deliver with what happens below prefix after a revision, in
	// order, each revision whole and once (and in any order within), from one goroutine. at is the revision
	// up to which all is told; events may be none. It returns when ctx ends, with
	// ErrCompacted if what happened after the revision is no longer known, or with
	// another error when the Coordinator can't be reached.
	Watch(ctx context.Context, prefix string, after Revision, deliver func(events []Event, at Revision)) error

	// Grant makes a lease of at least ttl, which ends unless KeepAlive is called
	// in time: the keys that have it are deleted then.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error)

	// KeepAlive renews a lease once and says for how long, counted from some moment
	// between call and return. ErrNoLease if it has ended.
	KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error)

	// Revoke ends a lease now. A lease that has ended is no error.
	Revoke(ctx context.Context, id LeaseID) error

	// Close gives up what connects to the Coordinator. Leases go on.
	Close() error
}

// Revision counts the changes of a Coordinator's keys, from 1.
type Revision int64

// LeaseID names a lease; 0 is none.
type LeaseID int64

// KV is a key with its value.
type KV struct {
	Key     string
	Value   []byte
	Changed Revision // the last change of the key
	Lease   LeaseID
}

// Event is a change of one key.
type Event struct {
	KV      // of a deleted key only Key and Changed
	Deleted bool
}

// Txn is a change that happens whole or not at all.
type Txn struct {
	If   []Condition // at most MaxOps
	Then []Op        // at most MaxOps, no key twice
}

// MaxOps bounds each part of a Txn.
const MaxOps = 128

// Condition holds while a key's last change is Changed; 0: there is no such key.
type Condition struct {
	Key     string
	Changed Revision
}

// Op sets a key, or deletes it.
type Op struct {
	Key    string
	Value  []byte
	Lease  LeaseID
	Delete bool
}

var (
	// ErrCompacted says that a Watch has to begin again with Range.
	ErrCompacted = errors.New("the changes since that revision are no longer kept")
	// ErrNoLease says that a lease has ended.
	ErrNoLease = errors.New("the lease has ended")
)
