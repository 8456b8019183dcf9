package dict

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Driver is what differs between dictionaries that are kept elsewhere: how one
// server, or one directory, is asked. New makes a Dict of it. Its methods may be
// called by any number of goroutines; each returns soon after its context ends.
// Beside them it may have those of Versioner and Watcher.
//
// Errors say what went wrong and at which server; New adds which dictionary it
// is and what was asked.
type Driver interface {
	// Get returns the value of key, which has passed CheckKey.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// List calls add for the entries below prefix, which has passed CheckPrefix,
	// in any order, and returns its error. Entries that are not wanted do no harm.
	List(ctx context.Context, prefix string, add func(key, value string) error) error

	// Commit makes the changes if the conditions hold, as Dict.Commit does. The
	// changes are in the order of their keys, of which none comes twice.
	Commit(ctx context.Context, changes []Change, conditions []Condition) error

	// Close is called once, when no other call is under way.
	Close() error
}

// ErrBusy is the error of a Driver's call that did nothing because of other
// writers, and may succeed if it is made again, which New does.
var ErrBusy = errors.New("other writers are in the way")

// Options say how New makes a Dict.
type Options struct {
	Name    string        // of the dictionary, for errors; without secrets
	Timeout time.Duration // the longest time that a call waits for the driver; 0 means 10 s
}

// New makes a Dict of a driver, which it takes over: requests are checked, every
// call has an end, writers that were in each other's way try again, and errors
// name the dictionary and the request. It is a Versioner or Watcher if the driver is.
func New(d Driver, opt Options) Dict {
	if opt.Timeout <= 0 {
		opt.Timeout = 10 * time.Second
	}
	h := &handle{driver: d, opt: opt}
	h.base, h.stop = context.WithCancel(context.Background())
	v, versions := d.(Versioner)
	w, watches := d.(Watcher)
	switch {
	case versions && watches:
		return struct {
			*handle
			versioned
			watched
		}{h, versioned{h, v}, watched{h, w}}
	case versions:
		return struct {
			*handle
			versioned
		}{h, versioned{h, v}}
	case watches:
		return struct {
			*handle
			watched
		}{h, watched{h, w}}
	}
	return h
}

// handle is a Dict of a driver.
type handle struct {
	driver Driver
	opt    Options
	base   context.Context // ends with Close
	stop   context.CancelFunc

	mu     sync.Mutex // guards what follows
	closed bool
	calls  sync.WaitGroup // under way; none begins once closed is set
}

// call runs one request, which ends when ctx does, at Close, and in time. It runs
// again while others are in its way.
func (h *handle) call(ctx context.Context, what string, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.opt.Timeout, h.slow())
	defer cancel()
	return h.endless(ctx, what, func(ctx context.Context) error {
		for pause := firstPause; ; pause = min(2*pause, mostPause) {
			err := run(ctx)
			if !errors.Is(err, ErrBusy) {
				return err
			}
			select {
			case <-time.After(rand.N(pause)):
			case <-ctx.Done():
				return err
			}
		}
	})
}

// Pauses between attempts of those who are in each other's way.
const (
	firstPause = 5 * time.Millisecond
	mostPause  = 200 * time.Millisecond
)

func (h *handle) slow() error { return fmt.Errorf("no answer in %v", h.opt.Timeout) }

// endless is call without a time limit.
func (h *handle) endless(outer context.Context, what string, run func(context.Context) error) error {
	if err := h.enter(outer); err != nil {
		return err
	}
	defer h.calls.Done()
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer context.AfterFunc(h.base, cancel)()
	return h.explain(outer, what, run(ctx))
}

// enter counts a call, which ends with calls.Done.
func (h *handle) enter(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	h.calls.Add(1)
	return nil
}

// explain makes of a driver's error what the caller sees.
func (h *handle) explain(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrConflict), errors.Is(err, ErrInvalid):
	case h.base.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil && errors.Is(err, ErrBusy):
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("dictionary %s: %s: %w", h.opt.Name, what, err)
}

// Get implements Dict.
func (h *handle) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	if err := CheckKey(key); err != nil {
		return "", false, err
	}
	err = h.call(ctx, "get "+brief(key), func(ctx context.Context) (err error) {
		value, ok, err = h.driver.Get(ctx, key)
		return err
	})
	if err != nil {
		return "", false, err
	}
	return value, ok, nil
}

// Iterate implements Dict. It shows what one List of the driver has found.
func (h *handle) Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error {
	if err := CheckPrefix(prefix); err != nil {
		return err
	}
	var entries []Entry
	size := 0
	err := h.call(ctx, "list "+brief(prefix), func(ctx context.Context) error {
		entries, size = nil, 0
		return h.driver.List(ctx, prefix, func(key, value string) error {
			if !strings.HasPrefix(key, prefix) || CheckKey(key) != nil {
				return nil
			}
			if size += len(key) + len(value) + changeCost; size > MaxListing {
				return fmt.Errorf("more than %d bytes", MaxListing)
			}
			entries = append(entries, Entry{key, value})
			return nil
		})
	})
	if err != nil {
		return err
	}
	return NewTable(entries).Walk(ctx, prefix, fn)
}

// Commit implements Dict.
func (h *handle) Commit(ctx context.Context, changes []Change, conditions ...Condition) error {
	if err := CheckCommit(changes, conditions); err != nil {
		return err
	}
	last := lastOfEach(changes)
	what := fmt.Sprintf("commit of %d changes", len(last))
	if len(last) > 0 {
		what += ", the first of " + brief(last[0].Key)
	}
	return h.call(ctx, what, func(ctx context.Context) error { return h.driver.Commit(ctx, last, conditions) })
}

// Close implements Dict.
func (h *handle) Close() error {
	h.mu.Lock()
	closed := h.closed
	h.closed = true
	h.mu.Unlock()
	h.stop()
	h.calls.Wait()
	if closed {
		return nil
	}
	return h.driver.Close()
}

// versioned is the ability of a handle whose driver has it.
type versioned struct {
	h *handle
	v Versioner
}

// Version implements Versioner.
func (v versioned) Version(ctx context.Context) (version string, err error) {
	err = v.h.call(ctx, "version", func(ctx context.Context) (err error) {
		version, err = v.v.Version(ctx)
		return err
	})
	return version, err
}

// watched is the ability of a handle whose driver has it.
type watched struct {
	h *handle
	w Watcher
}

// Watch implements Watcher.
func (w watched) Watch(ctx context.Context, changed func([]Change)) error {
	return w.h.endless(ctx, "watch", func(ctx context.Context) error { return w.w.Watch(ctx, changed) })
}

// lastOfEach are the changes in the order of their keys, of each key the last.
func lastOfEach(changes []Change) []Change {
	sorted := slices.Clone(changes)
	slices.SortStableFunc(sorted, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	n := 0
	for i, c := range sorted {
		if i+1 < len(sorted) && sorted[i+1].Key == c.Key {
			continue
		}
		sorted[n] = c
		n++
	}
	return sorted[:n]
}

// brief is a key as errors show it.
func brief(key string) string {
	const most = 100
	if len(key) > most {
		return fmt.Sprintf("%q...", key[:most])
	}
	return fmt.Sprintf("%q", key)
}
