package cluster_test

import (
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// atHome fails unless each backend's probe is served there, and nowhere else.
func (w *world) atHome(when string, want map[string]string) {
	w.t.Helper()
	for _, name := range []string{"b1", "b2", "b3"} {
		if at := w.at("probe-" + name); at != want[name] {
			w.t.Errorf("%s: the probe of %s is at %q, want %q", when, name, at, want[name])
		}
	}
}

// TestProbeUsers: the user of a backend's health checks is its own without a pin, also while
// it has nobody else, and goes to no other backend when it dies.
func TestProbeUsers(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.probe = "probe-"
		for _, name := range []string{"b1", "b2", "b3"} {
			w.start(name)
		}
		w.settle()
		time.Sleep(5 * time.Second)
		all := map[string]string{"b1": "b1", "b2": "b2", "b3": "b3"}
		w.atHome("at first", all)
		w.wish("b1", cluster.Drain)
		w.wish("b2", cluster.Down)
		w.settle()
		time.Sleep(time.Minute)
		w.atHome("drained", all)
		w.wish("b1", cluster.Up)
		w.wish("b2", cluster.Up)
		time.Sleep(time.Minute)
		w.killed("b1")
		time.Sleep(time.Minute)
		w.atHome("dead", map[string]string{"b1": "", "b2": "b2", "b3": "b3"})
		w.start("b1")
		time.Sleep(20 * time.Second) // it is no candidate yet
		w.atHome("back", all)

		w.pin("probe-b1", "b3")
		time.Sleep(10 * time.Second)
		w.atHome("pinned", map[string]string{"b1": "b3", "b2": "b2", "b3": "b3"})
		w.pin("probe-b1", "")
		time.Sleep(10 * time.Second)
		w.atHome("unpinned", all)

		w.probe = "check-" // another name in the configuration
		w.nodes["b1"].end()
		w.start("b1")
		time.Sleep(2 * time.Minute)
		if at := w.at("probe-b1"); len(at) != 2 {
			t.Errorf("who is no probe any more is at %q", at)
		}
		if at := w.at("check-b1"); at != "b1" {
			t.Errorf("the new probe is at %q", at)
		}
	})
}

// TestTwoOfOneProbe: of two backends that name the same user, one has it.
func TestTwoOfOneProbe(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		for _, name := range []string{"b1", "b2"} {
			r := w.registration(name)
			r.Probe = "user0"
			w.put("backends/"+name, r)
		}
		time.Sleep(10 * time.Second)
		if at := w.at("user0"); at != "b1" {
			t.Errorf("the user is at %q", at)
		}
	})
}
