package main

import (
	"strings"
	"testing"

	"github.com/roost-mail/roost/admin/admintest"
	"github.com/roost-mail/roost/cluster"
)

// TestAlone: a command writes mail where its holder runs, or while nobody holds it, and fails if
// that changes meanwhile; elsewhere it says who holds it.
func TestAlone(t *testing.T) {
	c := admintest.New(t)
	template, err := cluster.ParseTemplate("%Lu")
	if err != nil {
		t.Fatal(err)
	}
	called := false
	at := func(node string, during func()) error {
		called = false
		h := &holders{coordinator: c.Memory.Client(), template: template, node: node}
		return h.alone(t.Context(), "alice", func() error {
			called = true
			during()
			return nil
		})
	}
	nothing := func() {}
	says := func(what string, err error, done bool, words ...string) {
		t.Helper()
		if (err == nil) != (len(words) == 0) || called != done {
			t.Errorf("%s: called %v, %v", what, called, err)
		}
		for _, word := range words {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v, without %q", what, err, word)
			}
		}
	}
	says("nobody holds anybody", at("be1", nothing), true)
	c.Start("be1", cluster.Registration{Volumes: []string{"v"}})
	c.Start("be2", cluster.Registration{Volumes: []string{"v"}})
	c.Put("pins/alice", cluster.Pin{Backend: "be2"}, 0)
	says("it is taken meanwhile", at("be1", func() { c.Settle(1 << 20) }), true, `held by "be2" now`)
	says("held elsewhere", at("be1", nothing), false, "backend be2", "roost director move alice be1")
	says("held here", at("be2", nothing), true)
	says("it moves away meanwhile", at("be2", func() {
		c.Put("pins/alice", cluster.Pin{Backend: "be1"}, 0)
		c.Settle(1 << 20)
	}), true, `held by "be1" now`)
	c.Kill("be1")
	says("its holder is dead", at("be2", nothing), true)
	c.Put("heldu/alice", "not a record", 0)
	says("nobody knows", at("be2", nothing), false, "does not say who holds alice")
}
