package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// administer does what an administrator does, past all nodes.
func (r *Runner) administer(ctx context.Context, s Step) error {
	coordinator, view := r.World.Cluster()
	var err error
	for range 50 {
		var done bool
		if done, err = r.tryAdminister(ctx, s, coordinator, view); done || ctx.Err() != nil {
			return err
		}
		r.World.Sleep(ctx, 100*time.Millisecond) // until the coordinator is there, or the view knows what has changed
	}
	return errors.Join(errors.New("it does not come about"), err)
}

func (r *Runner) tryAdminister(ctx context.Context, s Step, coordinator cluster.Coordinator, view *cluster.View) (done bool, err error) {
	if s.Verb == "new-generation" {
		p, err := cluster.NewGeneration(ctx, coordinator, r.generation)
		r.generation = max(r.generation, p.Generation)
		return err == nil, err
	}
	var t cluster.Txn
	view.Read(func(m *cluster.Map) { t, err = wish(m, s) })
	if err != nil {
		return true, err
	}
	_, done, err = coordinator.Commit(ctx, t)
	return done && err == nil, err
}

// wish is the transaction that makes a step come true.
func wish(m *cluster.Map, s Step) (cluster.Txn, error) {
	switch name := s.Args[0]; s.Verb {
	case "move":
		_, at := m.Pin(name)
		return cluster.SetPin(name, cluster.Pin{Backend: s.Args[2]}, at)
	case "unmove":
		_, at := m.Pin(name)
		return cluster.EndPin(name, at), nil
	default:
		n, _ := m.Node(name)
		return cluster.SetWish(name, cluster.Wish{State: cluster.State(s.Verb), Weight: cluster.DefaultWeight}, n.WishAt)
	}
}
