// Package dictetcd keeps a dictionary in etcd, 3.4 or later: under a prefix, then
// the key as it is. Beside a cluster's coordinator it is the one at hand.
//
// A commit is one transaction of etcd, with more changes than its limit of 128
// operations in transactions within it. A watch goes on where it was after a
// break; where etcd no longer has what happened meanwhile it says so, and all is
// read again.
package dictetcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/roost-mail/roost/dict"
)

// Config says where etcd is and how it is used.
type Config struct {
	Endpoints      []string // HOST:PORT of its members
	Prefix         string   // before every key; nothing else may be below it
	TLS            *tls.Config
	User, Password string
	Timeout        time.Duration // of a call; 0 means 10 s
}

// Connections that say nothing are known to be dead after both together.
const (
	pingAfter = 5 * time.Second
	pingTime  = 3 * time.Second
)

// page is how many entries are asked for at once. The next are of the same revision.
const page = 1000

// maxAnswer bounds an answer: a page of values of usual size, or some of the largest.
const maxAnswer = dict.MaxListing

// Open returns a handle on the dictionary that cfg names. etcd need not be there
// yet. The Dict is a dict.Watcher, which is told what other programs do as well.
func Open(cfg Config) dict.Dict {
	d := &driver{cfg: cfg, making: make(chan struct{}, 1)}
	name := fmt.Sprintf("etcd at %s, prefix %q", strings.Join(cfg.Endpoints, ","), cfg.Prefix)
	return dict.New(d, dict.Options{Name: name, Timeout: cfg.Timeout})
}

type driver struct {
	cfg    Config
	making chan struct{} // whoever has put something in may set client
	client atomic.Pointer[clientv3.Client]
}

var (
	_ dict.Driver  = (*driver)(nil)
	_ dict.Watcher = (*driver)(nil)
)

// etcd is the client, which is made when it is first needed: with a password that
// asks the server.
func (d *driver) etcd(ctx context.Context) (*clientv3.Client, error) {
	select {
	case d.making <- struct{}{}:
		defer func() { <-d.making }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := d.client.Load(); c != nil {
		return c, nil
	}
	scheme := "http://"
	if d.cfg.TLS != nil {
		scheme = "https://"
	}
	endpoints := make([]string, len(d.cfg.Endpoints))
	for i, at := range d.cfg.Endpoints {
		endpoints[i] = scheme + at
	}
	timeout := 10 * time.Second
	if end, ok := ctx.Deadline(); ok {
		timeout = time.Until(end)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: d.cfg.TLS, Username: d.cfg.User, Password: d.cfg.Password,
		DialTimeout: timeout, DialKeepAliveTime: pingAfter, DialKeepAliveTimeout: pingTime,
		PermitWithoutStream: true, MaxCallRecvMsgSize: maxAnswer,
		Logger: zap.NewNop(), // what fails is told by those who called
	})
	if err != nil {
		return nil, err
	}
	d.client.Store(c)
	return c, nil
}

// Close implements dict.Driver.
func (d *driver) Close() error {
	if c := d.client.Load(); c != nil {
		return c.Close()
	}
	return nil
}

func (d *driver) key(key string) string { return d.cfg.Prefix + key }

// Get implements dict.Driver.
func (d *driver) Get(ctx context.Context, key string) (string, bool, error) {
	c, err := d.etcd(ctx)
	if err != nil {
		return "", false, err
	}
	res, err := c.Get(ctx, d.key(key))
	if err != nil || len(res.Kvs) == 0 {
		return "", false, err
	}
	return string(res.Kvs[0].Value), true, nil
}

// List implements dict.Driver.
func (d *driver) List(ctx context.Context, prefix string, add func(key, value string) error) error {
	c, err := d.etcd(ctx)
	if err != nil {
		return err
	}
	from, end, revision := d.key(prefix), clientv3.GetPrefixRangeEnd(d.key(prefix)), int64(0)
	for {
		res, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		for _, kv := range res.Kvs {
			if err := add(strings.TrimPrefix(string(kv.Key), d.cfg.Prefix), string(kv.Value)); err != nil {
				return err
			}
		}
		if !res.More || len(res.Kvs) == 0 {
			return nil
		}
		revision = res.Header.Revision
		from = string(res.Kvs[len(res.Kvs)-1].Key) + "\x00"
	}
}

// Commit implements dict.Driver.
func (d *driver) Commit(ctx context.Context, changes []dict.Change, conditions []dict.Condition) error {
	c, err := d.etcd(ctx)
	if err != nil {
		return err
	}
	if len(conditions) == 0 {
		if idle, err := d.alreadySo(ctx, c, changes); err != nil || idle {
			return err
		}
	}
	var holds []clientv3.Cmp
	for _, cond := range conditions {
		key := d.key(cond.Key)
		if cond.Missing {
			holds = append(holds, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
		} else {
			holds = append(holds, clientv3.Compare(clientv3.Value(key), "=", cond.Value))
		}
	}
	ops := make([]clientv3.Op, len(changes))
	for i, ch := range changes {
		if ch.Unset {
			ops[i] = clientv3.OpDelete(d.key(ch.Key))
		} else {
			ops[i] = clientv3.OpPut(d.key(ch.Key), ch.Value)
		}
	}
	res, err := c.Txn(ctx).If(holds...).Then(nest(ops)...).Commit()
	if err != nil {
		return err
	}
	if !res.Succeeded {
		return fmt.Errorf("%w: one of %d", dict.ErrConflict, len(conditions))
	}
	return nil
}

// fanOut is how many operations a transaction has at most. etcd counts those of a
// transaction and of the ones within it, level by level, and allows 128; the
// conditions are 64.
const fanOut = 30

// nest makes few operations of many: transactions that hold some each. Of
// dict.MaxChanges there are three levels.
func nest(ops []clientv3.Op) []clientv3.Op {
	for len(ops) > fanOut {
		var outer []clientv3.Op
		for len(ops) > 0 {
			n := min(len(ops), fanOut)
			outer = append(outer, clientv3.OpTxn(nil, ops[:n], nil))
			ops = ops[n:]
		}
		ops = outer
	}
	return ops
}

// fewChanges is how many keys it pays to read before they are written.
const fewChanges = 100

// alreadySo says that a commit of few changes changes nothing.
func (d *driver) alreadySo(ctx context.Context, c *clientv3.Client, changes []dict.Change) (bool, error) {
	if len(changes) == 0 {
		return true, nil
	}
	if len(changes) > fewChanges {
		return false, nil
	}
	gets := make([]clientv3.Op, len(changes))
	for i, ch := range changes {
		gets[i] = clientv3.OpGet(d.key(ch.Key))
	}
	res, err := c.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return false, err
	}
	for i, ch := range changes {
		kvs := res.Responses[i].GetResponseRange().GetKvs()
		if ch.Unset != (len(kvs) == 0) || !ch.Unset && string(kvs[0].Value) != ch.Value {
			return false, nil
		}
	}
	return true, nil
}

var errWatchEnded = errors.New("the watch ended")

// Watch implements dict.Watcher.
func (d *driver) Watch(ctx context.Context, changed func([]dict.Change)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := d.etcd(ctx)
	if err != nil {
		return err
	}
	watcher := clientv3.NewWatcher(c) // of its own, so that Close ends all of it
	defer watcher.Close()             //nolint:errcheck // there is nothing to lose
	for ctx.Err() == nil {
		told := watcher.Watch(clientv3.WithRequireLeader(ctx), d.key(dict.Root), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		compacted, err := d.tell(ctx, told, changed)
		if !compacted {
			return err
		}
	}
	return ctx.Err()
}

// tell passes on what a watch tells, until it ends, and says whether it ended
// because what is next was compacted away.
func (d *driver) tell(ctx context.Context, told clientv3.WatchChan, changed func([]dict.Change)) (compacted bool, err error) {
	for res := range told {
		switch {
		case res.CompactRevision != 0:
			return true, nil
		case res.Err() != nil:
			return false, res.Err()
		case res.Created:
			changed(nil)
			continue
		}
		var changes []dict.Change
		for _, e := range res.Events {
			key := strings.TrimPrefix(string(e.Kv.Key), d.cfg.Prefix)
			switch {
			case dict.CheckKey(key) != nil:
			case e.Type == clientv3.EventTypeDelete:
				changes = append(changes, dict.Unset(key))
			default:
				changes = append(changes, dict.Set(key, string(e.Kv.Value)))
			}
		}
		if len(changes) > 0 {
			changed(changes)
		}
	}
	return false, errors.Join(ctx.Err(), errWatchEnded)
}
