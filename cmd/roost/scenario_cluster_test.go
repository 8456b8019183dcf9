package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd"
	"github.com/roost-mail/roost/scenario"
)

// watchCluster is the view that a scenario itself has of the cluster.
func watchCluster(t *testing.T, addr string) *cluster.View {
	t.Helper()
	c, err := coordetcd.New(coordetcd.Config{Endpoints: []string{addr}, Prefix: "/roost/"})
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
	return v
}

// settled waits until every slot, and every pinned user, is held by who should.
func (w *processWorld) settled(ctx context.Context, s scenario.Step) error {
	ctx, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	var why string
	err := w.view.Await(ctx, func(m *cluster.Map) bool {
		why = w.unsettled(m)
		return why == ""
	})
	if err != nil {
		return fmt.Errorf("not settled: %s", why)
	}
	return nil
}

// unsettled says what is not as it should be.
func (w *processWorld) unsettled(m *cluster.Map) string {
	wrong := map[string]int{}
	for slot := range cluster.Slots {
		u := cluster.Unit{Slot: cluster.Slot(slot)}
		want := m.Wanted(u)
		held, at := m.Held(u)
		switch {
		case want == "":
			wrong["wanted by nobody"]++
		case at == 0:
			wrong["free, wanted by "+want]++
		case held.Backend != want || !m.Holds(held):
			wrong[fmt.Sprintf("held by %s (alive: %v), wanted by %s", held.Backend, m.Holds(held), want)]++
		}
	}
	for user, pin := range m.Pins() {
		if held, _ := m.Held(cluster.Unit{User: user}); held.Backend != pin.Backend {
			wrong[fmt.Sprintf("%s is pinned to %s and held by %q", user, pin.Backend, held.Backend)]++
		}
	}
	text := ""
	for what, n := range wrong {
		text += fmt.Sprintf("%d slots or users are %s; ", n, what)
	}
	return text
}

// wish does what an administrator does with a backend: drain, up, down.
func (w *processWorld) wish(_ context.Context, s scenario.Step) error {
	runRoost(w.t, "director", s.Verb, s.Args[0], "-c", w.anyNode().conf)
	return nil
}

// move pins a user.
func (w *processWorld) move(_ context.Context, s scenario.Step) error {
	runRoost(w.t, "director", "move", s.Args[0], s.Args[2], "-c", w.anyNode().conf)
	return nil
}

// anyNode is a director that runs.
func (w *processWorld) anyNode() *worldNode {
	i := slices.IndexFunc(w.directors, func(name string) bool { return w.nodes[name].process != nil })
	return w.nodes[w.directors[max(i, 0)]]
}
