package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/store"
)

// offline is mail that this process opens beside a server that has it closed.
type offline struct {
	set   *config.Settings
	auth  *auth.Authenticator
	store *store.Store
	opts  store.Options // of the store
	log   *slog.Logger  // warnings, to stderr
}

// newOffline reads a configuration file. The caller closes the store.
func newOffline(file string) (*offline, error) {
	if file == "" {
		return nil, usageError{errors.New("-c FILE is missing")}
	}
	set, _, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	o := &offline{set: set}
	if o.auth, err = auth.New(authConfig(set, quiet)); err != nil {
		return nil, err
	}
	o.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o.opts = storeOptions(set, o.log)
	if set.Cluster.Kind != config.NoCoordinator {
		o.opts.Holder = nodeName(set)
	}
	o.opts.Linger = -1
	o.store = store.New(o.opts)
	return o, nil
}

// alone has do write a user's mail, while no other backend of a cluster can have it open.
func (o *offline) alone(ctx context.Context, user string, do func() error) (err error) {
	if o.set.Cluster.Kind == config.NoCoordinator {
		return do() // the lock, and the manifest's holder, decide
	}
	h, err := newHolders(o.set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.coordinator.Close()) }()
	return h.alone(ctx, user, do)
}

// find looks a user up: the name as it is kept, and where the mail is.
func (o *offline) find(ctx context.Context, name string) (user, dir string, err error) {
	res, err := o.auth.Lookup(ctx, name)
	if err != nil {
		return "", "", shownError(lookupFailure(name, err))
	}
	dir, _, err = mailDir(o.set, res)
	return res.User, dir, err
}

// open opens a user's mail as the owner sees it. It never makes mail that is not there.
func (o *offline) open(ctx context.Context, name string) (*store.Session, error) {
	user, dir, err := o.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := mailThere(o.set, user, dir); err != nil {
		return nil, shownError(err)
	}
	account, err := o.store.Open(ctx, user, dir)
	if errors.Is(err, store.ErrInUse) {
		return nil, inUse(user)
	}
	if err != nil {
		return nil, fmt.Errorf("open the mail of %s: %w", user, errors.Unwrap(err))
	}
	defer account.Close()
	return account.As(store.View{Acting: user}), nil
}

// inUse says what to do when the mail of user is not closed.
func inUse(user string) error {
	return fmt.Errorf("the mail of %s is open in another process, most likely the server: end %s's sessions, and those of others who read shared mailboxes, and try again half a minute later", user, user)
}

// parseWhen reads a time on the command line: 2026-11-26, with a time of day
// behind it, RFC 3339, or how long ago it was, as in 90m or 2d.
func parseWhen(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	var days int
	if n, err := fmt.Sscanf(text, "%dd", &days); n == 1 && err == nil && text == fmt.Sprintf("%dd", days) && days >= 0 {
		return now.AddDate(0, 0, -days), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usageError{fmt.Errorf("%q is no time: 2026-11-26, \"2026-11-26 15:04\", 90m and 2d (ago) are", text)}
}
