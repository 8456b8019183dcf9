package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"pgregory.net/rapid"
)

// Whatever happens to the connection, to the coordinator's history and to keys, a View
// never undoes what its node has committed, and in the end it knows what a new View
// does.
func TestViewModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 60).Draw(rt, "steps")
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = runSteps(t, steps) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// step is something that happens, with a key that it happens to.
type step struct {
	what string
	key  string
	n    int
}

func (s step) String() string { return fmt.Sprintf("%s %s %d", s.what, s.key, s.n) }

func drawStep(t *rapid.T) step {
	return step{
		what: rapid.SampledFrom([]string{"mine", "mine", "drop mine", "theirs", "theirs", "drop theirs", "hang", "cut", "mend", "mend", "compact", "wait"}).Draw(t, "what"),
		key:  rapid.SampledFrom([]string{"held//00001", "held//00002", "heldu/ann", "pins/ann"}).Draw(t, "key"),
		n:    rapid.IntRange(1, 5000).Draw(t, "n"),
	}
}

func runSteps(t *testing.T, steps []step) string {
	memory := coordmem.New(bubbleClock{})
	defer memory.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	client, admin := memory.Client(), memory.Client()
	follow := func(c *coordmem.Client) *cluster.View {
		v := cluster.NewView(cluster.ViewConfig{Coordinator: c, Clock: bubbleClock{}, Log: slog.New(slog.DiscardHandler)})
		go v.Run(ctx)
		return v
	}
	v := follow(client)
	mine := map[string]string{} // what I have committed and nobody has changed
	for i, s := range steps {
		op := cluster.Op{Key: s.key, Value: []byte(fmt.Sprintf(`{"backend":"b%d"}`, i)), Delete: strings.HasPrefix(s.what, "drop")}
		switch s.what {
		case "mine", "drop mine", "theirs", "drop theirs":
			txn := cluster.Txn{Then: []cluster.Op{op}}
			at, _, err := admin.Commit(ctx, txn)
			if err != nil {
				return err.Error()
			}
			delete(mine, s.key)
			if strings.HasSuffix(s.what, "mine") {
				v.Note(txn, at)
				mine[s.key] = fmt.Sprintf("b%d", i)
				if op.Delete {
					mine[s.key] = ""
				}
			}
		case "hang":
			client.Hang(true)
		case "cut":
			client.Cut(true)
		case "mend":
			client.Hang(false)
			client.Cut(false)
		case "compact":
			_, at, err := admin.Range(ctx, "")
			if err != nil {
				return err.Error()
			}
			memory.Compact(at)
		case "wait":
			time.Sleep(time.Duration(s.n) * time.Millisecond)
		}
		if s.n%2 == 0 {
			synctest.Wait()
		}
		for key, want := range mine {
			if got := holderOf(v, key); got != want {
				return fmt.Sprintf("step %d: I have committed %s = %q, the view says %q", i, key, want, got)
			}
		}
	}
	client.Hang(false)
	client.Cut(false)
	fresh := follow(admin)
	time.Sleep(time.Minute)
	if got, want := knownTo(v), knownTo(fresh); got != want {
		return fmt.Sprintf("the view knows %s\na new one %s", got, want)
	}
	return ""
}

// holderOf is the backend that a key names.
func holderOf(v *cluster.View, key string) (backend string) {
	v.Read(func(m *cluster.Map) {
		held, _ := m.Held(map[string]cluster.Unit{"held//00001": {Slot: 1}, "held//00002": {Slot: 2}, "heldu/ann": {User: "ann"}}[key])
		pin, _ := m.Pin("ann")
		if backend = held.Backend; key == "pins/ann" {
			backend = pin.Backend
		}
	})
	return backend
}

// knownTo is all that a View knows of keys in the model, with revisions.
func knownTo(v *cluster.View) string {
	var words []string
	v.Read(func(m *cluster.Map) {
		for u, held := range m.Units() {
			_, at := m.Held(u)
			words = append(words, fmt.Sprintf("%s by %s@%d", u, held.Backend, at))
		}
		for user, pin := range m.Pins() {
			words = append(words, fmt.Sprintf("%s to %s", user, pin.Backend))
		}
		words = append(words, fmt.Sprint("revision ", m.Revision))
	})
	slices.Sort(words)
	return strings.Join(words, ", ")
}
