package member

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd"
	"github.com/roost-mail/roost/cluster/coordtest"
	"github.com/roost-mail/roost/porttest"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// rig is some members on loopback addresses, with the same two ports each.
type rig struct {
	client, peer int
	dir          string
	members      map[string]*Member
	coordinator  *coordetcd.Coordinator
}

func hosts(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("127.0.7.%d", i+1))
	}
	return out
}

func newRig(t *testing.T, voters int) *rig {
	t.Helper()
	r := &rig{client: porttest.Free(t, hosts(5)...), peer: porttest.Free(t, hosts(5)...), dir: t.TempDir(), members: map[string]*Member{}}
	t.Cleanup(func() {
		for _, m := range r.members {
			m.Stop()
		}
	})
	for _, host := range hosts(voters) {
		r.start(t, host, hosts(voters))
	}
	var endpoints []string
	for _, host := range hosts(5) {
		endpoints = append(endpoints, fmt.Sprintf("%s:%d", host, r.client))
	}
	var err error
	if r.coordinator, err = coordetcd.New(coordetcd.Config{Endpoints: endpoints}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.coordinator.Close() })
	return r
}

func (r *rig) config(host string, initial []string) Config {
	return Config{
		Host: host, Hosts: initial, ClientPort: r.client, PeerPort: r.peer, Listen: host,
		Dir: filepath.Join(r.dir, host), Log: slog.New(slog.DiscardHandler),
	}
}

func (r *rig) start(t *testing.T, host string, initial []string) {
	t.Helper()
	m, err := Start(t.Context(), r.config(host, initial))
	if err != nil {
		t.Fatal(err)
	}
	r.members[host] = m
}

func (r *rig) stop(host string) {
	r.members[host].Stop()
	delete(r.members, host)
}

// put changes a key, for as long as the members take to agree.
func (r *rig) put(t *testing.T, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, ok, err := r.coordinator.Commit(ctx, cluster.Txn{Then: []cluster.Op{{Key: key}}})
		if ok {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("put %s: %v", key, err)
		}
	}
}

func (r *rig) count(t *testing.T) int {
	t.Helper()
	kvs, _, err := r.coordinator.Range(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return len(kvs)
}

// One member is a Coordinator.
func TestCoordinator(t *testing.T) {
	r := newRig(t, 1)
	r.put(t, "/other")
	n := 0
	coordtest.Run(t, func(t *testing.T) coordtest.Fixture {
		n++
		c, err := coordetcd.New(coordetcd.Config{Endpoints: []string{fmt.Sprintf("127.0.7.1:%d", r.client)}, Prefix: fmt.Sprintf("/test%d/", n)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return coordtest.Fixture{
			Coordinator: c, TTL: 2 * time.Second,
			Compact: func(t *testing.T, revision cluster.Revision) { compact(t, r, revision) },
		}
	})
}

func compact(t *testing.T, r *rig, revision cluster.Revision) {
	t.Helper()
	client, err := newClient([]string{fmt.Sprintf("127.0.7.1:%d", r.client)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Compact(t.Context(), int64(revision)); err != nil {
		t.Fatal(err)
	}
}

// A member's own syncs are measured.
func TestMeasuresSyncs(t *testing.T) {
	before := buckets(prometheus.DefaultGatherer)
	newRig(t, 1).put(t, "a")
	if s := syncsBetween(before, buckets(prometheus.DefaultGatherer)); s.Count == 0 || s.P99 == 0 {
		t.Errorf("%+v", s)
	}
}

// TestHealth: one member leads, and all know that; of three, one that is alone knows no
// leader.
func TestHealth(t *testing.T) {
	r := newRig(t, 3)
	r.put(t, "a")
	leading := 0
	for host, m := range r.members {
		<-m.Ready()
		h := m.Health()
		if !h.Led || !h.Votes || h.Alarmed || h.Bytes <= 0 || h.Bytes >= h.Limit {
			t.Errorf("%s: %+v", host, h)
		}
		if h.Leads {
			leading++
		}
	}
	if leading != 1 {
		t.Errorf("%d members lead", leading)
	}
	r.stop(hosts(3)[0])
	r.stop(hosts(3)[1])
	m := r.members[hosts(3)[2]]
	for changed := m.server.Server.LeaderChangedNotify(); m.Health().Led; changed = m.server.Server.LeaderChangedNotify() {
		<-changed
	}
}

// Two members are refused, with what is to be done.
func TestEven(t *testing.T) {
	r := &rig{client: porttest.Free(t, hosts(5)...), peer: porttest.Free(t, hosts(5)...), dir: t.TempDir()}
	if _, err := Start(t.Context(), r.config("127.0.7.1", hosts(2))); err == nil || !strings.Contains(err.Error(), "witness") {
		t.Errorf("two members: %v", err)
	}
}

// With an authority, members and nodes know each other by certificates, and nobody else
// is let in.
func TestTLS(t *testing.T) {
	authority, dir := tlstest.New(t), t.TempDir()
	pair := authority.Valid(t, hosts(3)...)
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, cert, key := file("ca", authority.PEM), file("cert", pair.Cert), file("key", pair.Key)
	r := &rig{client: porttest.Free(t, hosts(5)...), peer: porttest.Free(t, hosts(5)...), dir: dir}
	var endpoints []string
	for _, host := range hosts(3) {
		c := r.config(host, hosts(3))
		c.CAFile, c.CertFile, c.KeyFile = ca, cert, key
		m, err := Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Stop)
		endpoints = append(endpoints, fmt.Sprintf("%s:%d", host, r.client))
	}
	known := authority.Client("")
	known.Certificates = []tls.Certificate{pair.Certificate(t)}
	var err error
	if r.coordinator, err = coordetcd.New(coordetcd.Config{Endpoints: endpoints, TLS: known}); err != nil {
		t.Fatal(err)
	}
	defer r.coordinator.Close()
	r.put(t, "a")
	for name, stranger := range map[string]*tls.Config{"no certificate": authority.Client(""), "no encryption": nil} {
		c, err := coordetcd.New(coordetcd.Config{Endpoints: endpoints, TLS: stranger, CallTime: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Range(t.Context(), ""); err == nil {
			t.Errorf("%s: answered", name)
		}
		_ = c.Close()
	}
}

// TestStop: other nodes watch a member that stops. All of these watches are ended before etcd
// waits for calls to end, and the nodes go on at other members.
func TestStop(t *testing.T) {
	if testing.Short() {
		t.Skip("members take seconds to elect")
	}
	r := newRig(t, 3)
	r.put(t, "a")
	stopping := r.members["127.0.7.2"]
	client, err := newClient([]string{fmt.Sprintf("127.0.7.2:%d", r.client)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 3 {
		told := clientv3.NewWatcher(client).Watch(t.Context(), "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		if created := <-told; created.Err() != nil {
			t.Fatal(created.Err())
		}
	}
	if open := stopping.watches.number(); open != 3 {
		t.Errorf("%d watches are open", open)
	}
	if left := stopping.watches.end(); left != 0 {
		t.Errorf("%d watches are left", left)
	}
	began := time.Now()
	r.stop("127.0.7.2")
	t.Logf("it took %v", time.Since(began))
	r.put(t, "b")
}

// Of three members one may be away; with two away nothing is agreed on.
func TestQuorum(t *testing.T) {
	if testing.Short() {
		t.Skip("members take seconds to elect")
	}
	r := newRig(t, 3)
	r.put(t, "a")
	r.stop("127.0.7.1")
	r.put(t, "b")
	r.stop("127.0.7.2")
	brief, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, ok, _ := r.coordinator.Commit(brief, cluster.Txn{Then: []cluster.Op{{Key: "alone"}}}); ok {
		t.Error("one of three agreed with itself")
	}
	r.start(t, "127.0.7.2", hosts(3))
	r.put(t, "c")
	r.start(t, "127.0.7.1", hosts(3))
	r.put(t, "d")
}

// One member becomes three, and one again.
func TestJoinAndLeave(t *testing.T) {
	if testing.Short() {
		t.Skip("members take seconds to elect")
	}
	r := newRig(t, 1)
	r.put(t, "a")
	c, err := NewChanger([]string{fmt.Sprintf("127.0.7.1:%d", r.client)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	url := func(host string) string { return fmt.Sprintf("http://%s:%d", host, r.peer) }
	if err := c.Join(t.Context(), url("127.0.7.2")); err == nil || !strings.Contains(err.Error(), "even") {
		t.Fatalf("two members: %v", err)
	}
	if _, err := Start(t.Context(), r.config("127.0.7.2", hosts(3))); err == nil || !strings.Contains(err.Error(), "roost director ring add 127.0.7.2") {
		t.Fatalf("a stranger started: %v", err)
	}
	if err := c.Join(t.Context(), url("127.0.7.2"), url("127.0.7.3")); err != nil {
		t.Fatal(err)
	}
	if err := c.Leave(t.Context(), false, url("127.0.7.2"), url("127.0.7.3")); err != nil { // and again in the same second
		t.Fatal(err)
	}
	if err := c.Join(t.Context(), url("127.0.7.2"), url("127.0.7.3")); err != nil {
		t.Fatal(err)
	}
	r.start(t, "127.0.7.2", hosts(3))
	r.start(t, "127.0.7.3", hosts(3))
	r.awaitVoters(t, c, 3)
	r.stop("127.0.7.3")
	r.put(t, "b")

	if err := os.RemoveAll(filepath.Join(r.dir, "127.0.7.3")); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), r.config("127.0.7.3", hosts(3))); err == nil || !strings.Contains(err.Error(), "were lost") {
		t.Fatalf("a member started without its data: %v", err)
	}
	if err := c.Leave(t.Context(), false, "127.0.7.3"); err == nil || !strings.Contains(err.Error(), "even") {
		t.Fatalf("two members were left: %v", err)
	}
	if err := c.Leave(t.Context(), true, "127.0.7.3"); err != nil {
		t.Fatal(err)
	}
	if err := c.Join(t.Context(), url("127.0.7.3")); err != nil {
		t.Fatal(err)
	}
	r.start(t, "127.0.7.3", hosts(3))
	r.awaitVoters(t, c, 3)
	if err := c.Leave(t.Context(), false, "127.0.7.2", "127.0.7.3"); err != nil {
		t.Fatal(err)
	}
	r.put(t, "c")
	if n := r.count(t); n != 3 {
		t.Errorf("%d keys", n)
	}
}

func (r *rig) awaitVoters(t *testing.T, c *Changer, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		voters := 0
		members, err := c.Members(ctx)
		for _, m := range members {
			if !m.Learner && m.Name != "" {
				voters++
			}
		}
		if voters == want {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%v, %v", members, err)
		}
	}
}

// TestStopAlone: a member stops that has waited in vain for the others.
func TestStopAlone(t *testing.T) {
	r := &rig{client: porttest.Free(t, hosts(1)...), peer: porttest.Free(t, hosts(1)...), dir: t.TempDir()}
	m, err := Start(t.Context(), r.config(hosts(1)[0], hosts(3)))
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { m.Stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(time.Minute):
		t.Fatal("it does not stop")
	}
}
