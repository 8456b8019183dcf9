package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// Clients are let in before background work that came earlier; who gives up
// leaves the queue, and no place is lost.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{free: 1}
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		var order []string
		come := func(name string, ctx context.Context) {
			go func() {
				if err := g.enter(ctx); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("%s: %v", name, err)
					}
					return
				}
				order = append(order, name) // one is inside
				g.leave()
			}()
			synctest.Wait()
		}
		gone, leave := context.WithCancel(t.Context())
		for i := range 2 {
			come(fmt.Sprint("background ", i), InBackground(t.Context()))
			come(fmt.Sprint("client ", i), t.Context())
			come("gone", gone)
		}
		leave()
		synctest.Wait()
		g.leave()
		synctest.Wait()
		if want := []string{"client 0", "client 1", "background 0", "background 1"}; !slices.Equal(order, want) {
			t.Errorf("they came in as %q", order)
		}
		if g.free != 1 {
			t.Errorf("%d places are free", g.free)
		}
	})
}
