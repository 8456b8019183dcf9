package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// settled is Settled in a bounded time.
func (r *Runner) settled(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, view := r.World.Cluster()
	return Settled(ctx, view)
}

// Settled waits until every slot, and every pinned user, is held by who should, or ctx ends.
func Settled(ctx context.Context, view *cluster.View) error {
	var why string
	err := view.Await(ctx, func(m *cluster.Map) bool {
		why = unsettled(m)
		return why == ""
	})
	if err != nil {
		return fmt.Errorf("not settled: %s", why)
	}
	return nil
}

// unsettled says of how many units what is not as it should be; "" if all is well.
func unsettled(m *cluster.Map) string {
	wrong := map[string]int{}
	look := func(u cluster.Unit) {
		held, at := m.Held(u)
		switch want := m.Wanted(u); {
		case want == "":
			wrong["wanted by nobody"]++
		case at == 0:
			wrong["free, wanted by "+want]++
		case held.Backend != want || !m.Holds(held):
			wrong[fmt.Sprintf("held by %s (alive: %v), wanted by %s", held.Backend, m.Holds(held), want)]++
		}
	}
	for slot := range cluster.Slot(cluster.Slots) {
		look(cluster.Unit{Slot: slot})
	}
	for user := range m.Pins() {
		look(cluster.Unit{User: user})
	}
	if len(wrong) == 0 {
		return ""
	}
	return fmt.Sprint(wrong)
}

// heldBy are the users of a scenario whom a backend holds now.
func (r *Runner) heldBy(backend string) (users map[string]bool, err error) {
	users = map[string]bool{}
	_, view := r.World.Cluster()
	view.Read(func(m *cluster.Map) {
		p, _ := m.Params()
		t, wrong := cluster.ParseTemplate(p.UserHash)
		if err = wrong; err != nil {
			return
		}
		for _, user := range r.scenario.UserNames() {
			held, _ := m.Held(m.UnitOf(user, "", cluster.SlotOf(t, user)))
			users[user] = held.Backend == backend && m.Holds(held)
		}
	})
	return users, err
}
