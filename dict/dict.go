// Package dict is a dictionary of shared keys and values: what every backend
// of a site must be able to find without asking the others, such as who shares
// mail with whom.
//
// Keys are paths below "shared/", for example
// shared/shared-boxes/user/bob/alice; values are short strings. The package
// holds the interface, what is common to its homes (checks, escaping, an
// immutable Table; deadlines, retries and error texts, by New) and a dictionary
// in memory. The other homes are packages of their own: dictfile and dictfs keep
// one in files, dictsql, dictredis and dictetcd at servers. A Mirror is a copy in
// memory that stays up to date, for those who read often.
//
// A dictionary is derived data: whoever writes it can write it again. It is
// not a place for mail, for per-user ("priv/") keys, or for locks, and it does
// not know what its keys mean.
package dict

import (
	"context"
	"errors"
)

// ErrInvalid is the error for a key, value, prefix or list of changes that
// this package's rules refuse. Nothing was changed, and trying again is vain.
var ErrInvalid = errors.New("invalid dictionary request")

// ErrConflict is the error of a Commit one of whose conditions did not hold.
// Nothing was changed.
var ErrConflict = errors.New("dictionary condition does not hold")

// ErrClosed is the error of every use after Close.
var ErrClosed = errors.New("dictionary is closed")

// Dict is one handle on a dictionary. All methods may be called by any number
// of goroutines at once, and other handles, processes and machines may use the
// same dictionary at the same time.
//
// Keys, prefixes and values follow CheckKey, CheckPrefix and CheckValue;
// anything else is ErrInvalid. A dictionary that is shared with other programs
// may hold keys that break the rules: they are neither shown nor touched. Values
// of other programs are shown as they are.
//
// An error that is none of this package's and not the context's means that the
// dictionary cannot be used now; the caller decides whether to retry.
type Dict interface {
	// Get returns the value of key. ok is false, and err nil, when there is no
	// such key. A value committed through this handle is seen at once, one
	// committed through another as soon as the storage shows it, which is
	// within a second unless the network file system below caches longer.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// Iterate calls fn for every key below prefix, at any depth, in bytewise
	// order of the keys. The prefix ends in "/", so "shared/a/" never finds
	// shared/ab. A key that is there during the whole call is given exactly
	// once; one that comes or goes meanwhile may be given or not. fn may use
	// the dictionary. An error of fn ends the iteration and is returned as it
	// is. No keys is not an error.
	Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error

	// Commit makes all the changes, or none. They are made in order, so of two
	// for one key the later counts. The conditions are checked against the
	// state that the changes apply to, in the same atomic step; if one fails
	// the error is ErrConflict. Unsetting a missing key and setting the value
	// a key already has are no errors and cause no write.
	//
	// After an error other than ErrInvalid and ErrConflict all changes may
	// have been made nevertheless, but never a part of them. Changes are
	// idempotent: without conditions, committing once more is always right.
	Commit(ctx context.Context, changes []Change, conditions ...Condition) error

	// Close ends the handle; calls under way end soon, later ones give
	// ErrClosed. Closing twice does nothing. What was committed stays.
	Close() error
}

// Versioner is the ability to tell cheaply whether anything changed, for
// callers that keep what they read. Ask for it by type assertion.
type Versioner interface {
	// Version returns a token that differs from an earlier one if any key or
	// value that can be seen changed between the two calls through any handle
	// of this package. Whether changes by other programs show is said by each
	// home. Read it before
	// the data it stands for, and compare it only with tokens of the same
	// handle: it has no other meaning and does not survive the process.
	Version(ctx context.Context) (string, error)
}

// Watcher is the ability to tell of changes as they happen. Ask for it by type
// assertion.
type Watcher interface {
	// Watch calls changed, from one goroutine, with what was committed through
	// any handle of this package, in order, until ctx ends or the watch breaks,
	// and returns why. No changes (nil) means that anything may have changed:
	// that is so once at the start, when the watch is in place, and whenever
	// details are not known. Whether changes by other programs are told is said
	// by each home. changed may use the dictionary.
	Watch(ctx context.Context, changed func([]Change)) error
}

// Change sets or unsets one key.
type Change struct {
	Key   string
	Value string // ignored if Unset
	Unset bool
}

// Set is the change that gives key a value.
func Set(key, value string) Change { return Change{Key: key, Value: value} }

// Unset is the change that removes key, if it is there.
func Unset(key string) Change { return Change{Key: key, Unset: true} }

// Condition is what must hold for a Commit to happen.
type Condition struct {
	Key     string
	Value   string // ignored if Missing
	Missing bool
}

// IfValue is the condition that key exists and has this value.
func IfValue(key, value string) Condition { return Condition{Key: key, Value: value} }

// IfMissing is the condition that there is no such key.
func IfMissing(key string) Condition { return Condition{Key: key, Missing: true} }
