// Package coordetcd is a Coordinator kept by etcd, 3.4 or later.
package coordetcd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/roost-mail/roost/cluster"
)

// Config says where etcd is. Zero fields have the default named beside them.
type Config struct {
	Endpoints      []string // HOST:PORT of its members
	Prefix         string   // before every key, which others do not see; none
	TLS            *tls.Config
	User, Password string
	Log            *slog.Logger

	// CallTime bounds every call but Watch, when its context does not; 5 seconds.
	CallTime time.Duration
}

// Coordinator is a cluster.Coordinator.
type Coordinator struct {
	cfg    Config
	made   chan struct{} // whoever has put something in may set client; Close leaves it there
	client atomic.Pointer[clientv3.Client]
	closed sync.Once
}

var _ cluster.Coordinator = (*Coordinator)(nil)

// How soon a connection that says nothing is known to be dead.
const (
	pingAfter = 6 * time.Second // etcd hangs up on those who ask more often than every 5 seconds
	pingTime  = 3 * time.Second

	// A lease does not wait for long pauses between attempts to connect.
	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = 500 * time.Millisecond
	connectTime    = 2 * time.Second

	watchProgress = 30 * time.Second // between questions how far a quiet watch is

	// How much may be under way to us. Were that to be found out, then by pings in the midst of
	// large answers, and etcd hangs up on those, too ("too_many_pings").
	window = 4 << 20

	// The largest answer: what a cluster at all limits of cluster.Map has is half of it.
	maxAnswer = 256 << 20
)

// New makes a Coordinator. It need not be reachable yet.
func New(cfg Config) (*Coordinator, error) {
	if cfg.CallTime <= 0 {
		cfg.CallTime = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{cfg: cfg, made: make(chan struct{}, 1)}
	if cfg.User != "" {
		return c, nil // a client that has a password is made only once etcd is there
	}
	client, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	c.client.Store(client)
	return c, nil
}

func newClient(cfg *Config) (*clientv3.Client, error) {
	scheme := "http://"
	if cfg.TLS != nil {
		scheme = "https://"
	}
	endpoints := make([]string, len(cfg.Endpoints))
	for i, at := range cfg.Endpoints {
		endpoints[i] = scheme + at
	}
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: cfg.TLS, Username: cfg.User, Password: cfg.Password,
		DialTimeout: cfg.CallTime, DialKeepAliveTime: pingAfter, DialKeepAliveTimeout: pingTime,
		PermitWithoutStream: false, MaxCallRecvMsgSize: maxAnswer,
		DialOptions: []grpc.DialOption{
			grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: reconnectFirst, Multiplier: 1.5, Jitter: 0.2, MaxDelay: reconnectMost},
				MinConnectTimeout: connectTime,
			}),
		},
		Logger: zap.NewNop(), // what fails is told by those who called
	})
}

// etcd is the client, which is made first if need be.
func (c *Coordinator) etcd(ctx context.Context) (*clientv3.Client, error) {
	if client := c.client.Load(); client != nil {
		return client, nil
	}
	select {
	case c.made <- struct{}{}:
		defer func() { <-c.made }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if client := c.client.Load(); client != nil {
		return client, nil
	}
	client, err := newClient(&c.cfg)
	if err != nil {
		return nil, err
	}
	c.client.Store(client)
	return client, nil
}

// Close implements cluster.Coordinator.
func (c *Coordinator) Close() error {
	var err error
	c.closed.Do(func() {
		c.made <- struct{}{}
		if client := c.client.Load(); client != nil {
			err = client.Close()
		}
	})
	return err
}

// brief bounds a call.
func (c *Coordinator) brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.CallTime)
}

// Range implements cluster.Coordinator.
func (c *Coordinator) Range(ctx context.Context, prefix string) ([]cluster.KV, cluster.Revision, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	client, err := c.etcd(ctx)
	if err != nil {
		return nil, 0, err
	}
	res, err := client.Get(ctx, c.cfg.Prefix+prefix, allBelow(c.cfg.Prefix+prefix))
	if err != nil {
		return nil, 0, c.unreached(client, err)
	}
	kvs := make([]cluster.KV, len(res.Kvs))
	for i, kv := range res.Kvs {
		kvs[i] = cluster.KV{
			Key: c.key(kv.Key), Value: kv.Value,
			Changed: cluster.Revision(kv.ModRevision), Lease: cluster.LeaseID(kv.Lease),
		}
	}
	return kvs, cluster.Revision(res.Header.Revision), nil
}

// allBelow is for the keys that begin with prefix, of which the empty one is none.
func allBelow(prefix string) clientv3.OpOption {
	if prefix == "" {
		return clientv3.WithFromKey()
	}
	return clientv3.WithPrefix()
}

func (c *Coordinator) key(key []byte) string {
	return strings.TrimPrefix(string(key), c.cfg.Prefix)
}

// Commit implements cluster.Coordinator.
func (c *Coordinator) Commit(ctx context.Context, t cluster.Txn) (cluster.Revision, bool, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	var conditions []clientv3.Cmp
	for _, cond := range t.If {
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(c.cfg.Prefix+cond.Key), "=", int64(cond.Changed)))
	}
	var ops []clientv3.Op
	for _, op := range t.Then {
		key := c.cfg.Prefix + op.Key
		if op.Delete {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease))))
		}
	}
	client, err := c.etcd(ctx)
	if err != nil {
		return 0, false, err
	}
	res, err := client.Txn(ctx).If(conditions...).Then(ops...).Commit()
	if err != nil {
		return 0, false, leaseError(err)
	}
	return cluster.Revision(res.Header.Revision), res.Succeeded, nil
}

func leaseError(err error) error {
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return cluster.ErrNoLease
	}
	return err
}

// Watch implements cluster.Coordinator. It ends when the member that it watches has no
// leader: another may have one.
func (c *Coordinator) Watch(ctx context.Context, prefix string, after cluster.Revision, deliver func([]cluster.Event, cluster.Revision)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := c.etcd(ctx)
	if err != nil {
		return err
	}
	lost, err := whenLost(ctx, client.ActiveConnection())
	if err != nil {
		return err
	}
	watcher := clientv3.NewWatcher(client) // of its own, so that Close ends all of it
	defer watcher.Close()                  //nolint:errcheck // there is nothing to lose
	full := c.cfg.Prefix + prefix
	told := watcher.Watch(clientv3.WithRequireLeader(ctx), full, allBelow(full), clientv3.WithRev(int64(after)+1), clientv3.WithFragment(), clientv3.WithProgressNotify())
	ask := time.NewTicker(watchProgress)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lost:
			return errWatchLost
		case <-ask.C:
			_ = watcher.RequestProgress(clientv3.WithRequireLeader(ctx)) // a watch that is broken says so itself
		case res, open := <-told:
			switch {
			case !open:
				return errors.Join(ctx.Err(), errWatchEnded)
			case res.CompactRevision != 0:
				return cluster.ErrCompacted
			case res.Err() != nil:
				return res.Err()
			case res.IsProgressNotify():
				deliver(nil, cluster.Revision(res.Header.Revision))
			default:
				c.tell(res.Events, deliver)
			}
		}
	}
}

var (
	errWatchEnded = errors.New("the watch ended")
	errWatchLost  = errors.New("etcd was out of reach")
)

// whenLost is closed when no server is connected any more. etcd's client would go on with
// a watch by itself; but a server that comes back may have been restored from a
// copy, and have got beyond the revisions that were told, with other changes.
func whenLost(ctx context.Context, conn *grpc.ClientConn) (<-chan struct{}, error) {
	if conn.GetState() != connectivity.Ready {
		conn.Connect()
		return nil, errWatchLost
	}
	lost := make(chan struct{})
	go func() {
		if conn.WaitForStateChange(ctx, connectivity.Ready) {
			close(lost)
		}
	}()
	return lost, nil
}

// tell delivers events, each revision by itself.
func (c *Coordinator) tell(all []*clientv3.Event, deliver func([]cluster.Event, cluster.Revision)) {
	for len(all) > 0 {
		at := all[0].Kv.ModRevision
		var events []cluster.Event
		for len(all) > 0 && all[0].Kv.ModRevision == at {
			kv := all[0].Kv
			e := cluster.Event{
				KV:      cluster.KV{Key: c.key(kv.Key), Changed: cluster.Revision(at)},
				Deleted: all[0].Type == clientv3.EventTypeDelete,
			}
			if !e.Deleted {
				e.Value, e.Lease = kv.Value, cluster.LeaseID(kv.Lease)
			}
			events, all = append(events, e), all[1:]
		}
		deliver(events, cluster.Revision(at))
	}
}

// Grant implements cluster.Coordinator. etcd counts leases in seconds, and grants none
// that is shorter than one and a half times its election time-out.
func (c *Coordinator) Grant(ctx context.Context, ttl time.Duration) (cluster.LeaseID, time.Duration, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	client, err := c.etcd(ctx)
	if err != nil {
		return 0, 0, err
	}
	res, err := client.Grant(ctx, int64(math.Ceil(ttl.Seconds())))
	if err != nil {
		return 0, 0, err
	}
	return cluster.LeaseID(res.ID), time.Duration(res.TTL) * time.Second, nil
}

// keepAliveTries bounds how often a KeepAlive is repeated because a leader was elected
// meanwhile.
const keepAliveTries = 3

// KeepAlive implements cluster.Coordinator.
//
// A leader of etcd 3.4 that was paused, and replaced meanwhile, renews leases until it
// hears of that, even such as have ended. So its word counts only if the members still
// are in its term afterwards.
func (c *Coordinator) KeepAlive(ctx context.Context, id cluster.LeaseID) (time.Duration, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	client, err := c.etcd(ctx)
	if err != nil {
		return 0, err
	}
	for range keepAliveTries {
		res, err := client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
		switch {
		case err != nil:
			return 0, leaseError(err)
		case res.TTL <= 0:
			return 0, cluster.ErrNoLease
		}
		after, err := client.Get(ctx, c.cfg.Prefix+"term", clientv3.WithCountOnly())
		switch {
		case err != nil:
			return 0, err
		case res.ResponseHeader != nil && after.Header.RaftTerm == res.RaftTerm:
			return time.Duration(res.TTL) * time.Second, nil
		}
	}
	return 0, errElections
}

var errElections = errors.New("etcd elects one leader after the other")

// Revoke implements cluster.Coordinator.
func (c *Coordinator) Revoke(ctx context.Context, id cluster.LeaseID) error {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	client, err := c.etcd(ctx)
	if err != nil {
		return err
	}
	_, err = client.Revoke(ctx, clientv3.LeaseID(id))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}
