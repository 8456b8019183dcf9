package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd"
)

// watchCluster is the way to the coordinator and the view that a scenario itself has.
func watchCluster(t testing.TB, addr string) (cluster.Coordinator, *cluster.View) {
	t.Helper()
	return watchClusterBy(t, coordetcd.Config{Endpoints: []string{addr}})
}

func watchClusterBy(t testing.TB, cfg coordetcd.Config) (cluster.Coordinator, *cluster.View) {
	t.Helper()
	cfg.Prefix = "/roost/"
	c, err := coordetcd.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := cluster.NewView(cluster.ViewConfig{Coordinator: c, Clock: cluster.BootTime{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = c.Close()
	})
	return c, v
}
