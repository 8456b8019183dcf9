package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
)

// askHolder bounds the question to the coordinator who holds a user.
const askHolder = 10 * time.Second

// holders is what a command that writes mail beside the servers asks who holds it.
type holders struct {
	coordinator cluster.Coordinator
	template    cluster.Template
	tag, node   string
}

// newHolders connects to the coordinator of a configuration. The caller closes that.
func newHolders(set *config.Settings) (p *holders, err error) {
	p = &holders{tag: set.Cluster.Tag, node: nodeName(set)}
	if p.template, err = cluster.ParseTemplate(set.Director.UsernameHash); err != nil {
		return nil, fmt.Errorf("%s: director_username_hash: %w", set.Where("director_username_hash"), err)
	}
	p.coordinator, err = newCoordinator(set, slog.New(slog.DiscardHandler))
	return p, err
}

// alone has do write a user's mail. The lock of the directory alone does not keep other hosts'
// backends out: so it is done only where the backend runs that holds the user, which
// the lock does keep out, or while none does. If that changes meanwhile, it is an error: another
// backend may have taken the mail over as it was before.
func (p *holders) alone(ctx context.Context, user string, do func() error) error {
	before, err := p.holder(ctx, user)
	if err != nil {
		return err
	}
	if before.backend != "" && before.backend != p.node {
		return fmt.Errorf("the mail of %s is held by backend %s, since revision %d, and this is %s: say it on that machine, or bring the user here first: roost director move %s %s",
			user, before.backend, before.at, p.node, user, p.node)
	}
	if err := do(); err != nil {
		return err
	}
	after, err := p.holder(ctx, user)
	switch {
	case err != nil:
		return fmt.Errorf("it is done, but perhaps not for long: %w", err)
	case after != before:
		return fmt.Errorf("the mail of %s has changed hands meanwhile, and is held by %q now: what was done may be lost; look, and say it again there", user, after.backend)
	}
	return nil
}

// holding says who holds a user: nobody, if backend is empty.
type holding struct {
	backend string
	at      cluster.Revision // of the record
}

// holder asks the coordinator.
func (p *holders) holder(ctx context.Context, user string) (h holding, err error) {
	ctx, cancel := context.WithTimeout(ctx, askHolder)
	defer cancel()
	view := cluster.NewView(cluster.ViewConfig{Coordinator: p.coordinator, Clock: cluster.BootTime{}, Log: slog.New(slog.DiscardHandler)})
	following, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { view.Run(following); close(ended) }()
	defer func() { stop(); <-ended }()
	var unreadable error
	err = view.Await(ctx, func(m *cluster.Map) bool {
		if m.Revision == 0 {
			return false
		}
		held, at := m.Held(m.UnitOf(user, p.tag, cluster.SlotOf(p.template, user)))
		switch {
		case at != 0 && held.Backend == "":
			unreadable = fmt.Errorf("the record of revision %d can't be read", at)
		case m.Holds(held):
			h = holding{held.Backend, at}
		}
		return true
	})
	if err = errors.Join(err, unreadable); err != nil {
		err = fmt.Errorf("the coordinator does not say who holds %s, so that a backend may have the mail open; if all are stopped, use a configuration without `cluster`: %w", user,
			errors.Join(view.Contact().Away, err))
	}
	return h, err
}
