package director

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
)

// failover is a map on which b1 holds the user alice and has just died; takeOver
// has b2 hold her.
type failover struct {
	t     *testing.T
	coord cluster.Coordinator
	held  string // key of her slot
}

func (f *failover) put(key string, value any, lease cluster.LeaseID) cluster.Op {
	f.t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		f.t.Error(err)
	}
	return cluster.Op{Key: key, Value: data, Lease: lease}
}

func (f *failover) commit(ops ...cluster.Op) {
	f.t.Helper()
	if _, ok, err := f.coord.Commit(f.t.Context(), cluster.Txn{Then: ops}); !ok || err != nil {
		f.t.Error(ok, err)
	}
}

// takes has a backend live at an address and hold the user.
func (f *failover) takes(name string, addr netip.AddrPort) {
	f.t.Helper()
	lease, _, err := f.coord.Grant(f.t.Context(), time.Minute)
	if err != nil {
		f.t.Error(err)
	}
	f.commit(
		f.put("backends/"+name, cluster.Registration{Host: addr.Addr().String(), Port: addr.Port()}, 0),
		f.put("alive/"+name, cluster.Alive{Incarnation: name, Candidate: true}, lease),
		f.put(f.held, cluster.Held{Backend: name, Incarnation: name, Lease: lease}, 0),
	)
}

// A login waits for the map of a real cluster to name the backend that takes over:
// whether the one before is dead, or says itself that it holds the user no more.
func TestFollowsTheMap(t *testing.T) {
	for _, how := range []string{"dead", "gives up"} {
		t.Run(how, func(t *testing.T) {
			template, err := cluster.ParseTemplate("%Lu")
			if err != nil {
				t.Fatal(err)
			}
			clock := cluster.BootTime{}
			memory := coordmem.New(clock)
			defer memory.Close()
			coord := memory.Client()
			f := &failover{t, coord, fmt.Sprintf("held//%05d", cluster.SlotOf(template, "alice"))}
			b1, b2 := noBackend(t), backend(t, letsIn)
			if how == "gives up" {
				b1 = crowd(t, letsInWith("NO [X-ROOST-MOVED 1 -] elsewhere"))
			}
			f.takes("b1", b1)
			view := cluster.NewView(cluster.ViewConfig{Coordinator: coord, Clock: clock, Log: slog.New(slog.DiscardHandler)})
			ctx, cancel := context.WithCancel(t.Context())
			followed := make(chan struct{})
			go func() { view.Run(ctx); close(followed) }()
			defer func() { cancel(); <-followed }()

			asked := make(chan struct{}, 1)
			routes := cluster.NewRoutes(cluster.RoutesConfig{View: view, Clock: clock, Template: template})
			d := New(Config{Locator: signalled{routes, asked}, Log: slog.New(slog.DiscardHandler), Timeout: time.Minute})
			go func() {
				<-asked // the first answer was b1
				f.takes("b2", b2)
			}()
			p, err := d.Connect(t.Context(), someClient(), Route{User: "alice", AuthID: "alice", Password: "secret"})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if s := p.Status(); s.Backend != b2.String() || s.Name != "b2" {
				t.Errorf("logged in at %+v", s)
			}
		})
	}
}

// signalled tells when it is asked again.
type signalled struct {
	cluster.Locator
	asked chan struct{}
}

func (s signalled) Locate(ctx context.Context, q cluster.Query) (cluster.Backend, error) {
	if q.Refused != "" {
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
	return s.Locator.Locate(ctx, q)
}
