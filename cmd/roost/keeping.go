package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os/exec"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/director"
	"github.com/roost-mail/roost/health"
)

// newKeeper makes a director's part in keeping backends that are no Roost.
func (p *parts) newKeeper(set *config.Settings) (*cluster.Keeper, error) {
	return cluster.NewKeeper(cluster.KeeperConfig{
		Coordinator: p.clustered.coordinator, View: p.clustered.view, Clock: cluster.BootTime{}, Log: p.log,
		Name: nodeName(set), Record: cluster.DirectorRecord{Incarnation: rand.Text(), Version: version(), Admin: set.AdminAddress()},
		Template: p.clustered.template, TTL: set.Cluster.LeaseTTL,
		Health: func(backend string) (trouble string, ok bool) {
			return foreignHealth(backend, p.monitor.States(), p.latest().set.Health.Interval)
		},
		Fence: fence(set.Cluster.FenceCommand),
	})
}

// admit asks the keeper for leave to have a session at a foreign backend.
func (p *parts) admit(user, backend string) (director.Pass, error) {
	pass, err := p.keeper.Pass(user, backend)
	if err != nil {
		return nil, err
	}
	return pass, nil
}

// foreignHealth is how checks find a backend. Without checks it is taken for well.
func foreignHealth(backend string, states []health.State, interval time.Duration) (trouble string, ok bool) {
	for _, s := range states {
		switch {
		case s.Name != backend:
		case !s.Checked:
			return "", false
		case s.Up:
			return "", true
		case s.Reason == "":
			return "it has not been up for long enough", true
		default:
			return s.Reason, true
		}
	}
	return "", interval == 0
}

// fence runs cluster_fence_command; nil without one.
func fence(command string) func(ctx context.Context, backend string) error {
	if command == "" {
		return nil
	}
	return func(ctx context.Context, backend string) error {
		cmd := exec.CommandContext(ctx, command, backend)
		cmd.WaitDelay = time.Second
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &limited{&said}, &limited{&said}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s %s: %w: %q", command, backend, err, said.String())
		}
		return nil
	}
}

// limited keeps the beginning of what is written.
type limited struct{ to *bytes.Buffer }

const maxSaid = 1 << 10

func (l *limited) Write(p []byte) (int, error) {
	l.to.Write(p[:min(len(p), max(0, maxSaid-l.to.Len()))])
	return len(p), nil
}
