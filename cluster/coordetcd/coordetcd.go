// Package coordetcd is a Coordinator kept by etcd, 3.4 or later.
package coordetcd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

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
	client *clientv3.Client
}

var _ cluster.Coordinator = (*Coordinator)(nil)

// How soon a connection that says nothing is known to be dead.
const (
	pingAfter = 5 * time.Second
	pingTime  = 3 * time.Second

	// A lease does not wait for long pauses between attempts to connect.
	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = 500 * time.Millisecond
	connectTime    = 2 * time.Second

	watchProgress = 30 * time.Second // between questions how far a quiet watch is
)

// New makes a Coordinator. It need not be reachable yet.
func New(cfg Config) (*Coordinator, error) {
	if cfg.CallTime <= 0 {
		cfg.CallTime = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	scheme := "http://"
	if cfg.TLS != nil {
		scheme = "https://"
	}
	endpoints := make([]string, len(cfg.Endpoints))
	for i, at := range cfg.Endpoints {
		endpoints[i] = scheme + at
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: cfg.TLS, Username: cfg.User, Password: cfg.Password,
		DialTimeout: cfg.CallTime, DialKeepAliveTime: pingAfter, DialKeepAliveTimeout: pingTime,
		PermitWithoutStream: true,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectFirst, Multiplier: 1.5, Jitter: 0.2, MaxDelay: reconnectMost},
			MinConnectTimeout: connectTime,
		})},
		Logger: zap.NewNop(), // what fails is told by those who called
	})
	if err != nil {
		return nil, err
	}
	return &Coordinator{cfg: cfg, client: client}, nil
}

// Close implements cluster.Coordinator.
func (c *Coordinator) Close() error { return c.client.Close() }

// brief bounds a call.
func (c *Coordinator) brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.CallTime)
}

// Range implements cluster.Coordinator.
func (c *Coordinator) Range(ctx context.Context, prefix string) ([]cluster.KV, cluster.Revision, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	res, err := c.client.Get(ctx, c.cfg.Prefix+prefix, allBelow(c.cfg.Prefix+prefix))
	if err != nil {
		return nil, 0, err
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
	res, err := c.client.Txn(ctx).If(conditions...).Then(ops...).Commit()
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
	watcher := clientv3.NewWatcher(c.client) // of its own, so that Close ends all of it
	defer watcher.Close()                    //nolint:errcheck // there is nothing to lose
	full := c.cfg.Prefix + prefix
	told := watcher.Watch(clientv3.WithRequireLeader(ctx), full, allBelow(full), clientv3.WithRev(int64(after)+1), clientv3.WithFragment(), clientv3.WithProgressNotify())
	ask := time.NewTicker(watchProgress)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
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

var errWatchEnded = errors.New("the watch ended")

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
	res, err := c.client.Grant(ctx, int64(math.Ceil(ttl.Seconds())))
	if err != nil {
		return 0, 0, err
	}
	return cluster.LeaseID(res.ID), time.Duration(res.TTL) * time.Second, nil
}

// KeepAlive implements cluster.Coordinator.
func (c *Coordinator) KeepAlive(ctx context.Context, id cluster.LeaseID) (time.Duration, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	res, err := c.client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	switch {
	case err != nil:
		return 0, leaseError(err)
	case res.TTL <= 0:
		return 0, cluster.ErrNoLease
	}
	return time.Duration(res.TTL) * time.Second, nil
}

// Revoke implements cluster.Coordinator.
func (c *Coordinator) Revoke(ctx context.Context, id cluster.LeaseID) error {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	_, err := c.client.Revoke(ctx, clientv3.LeaseID(id))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}
