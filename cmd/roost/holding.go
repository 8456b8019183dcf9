package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/store"
)

// newHolder makes what holds users for this backend.
func (p *parts) newHolder(set *config.Settings) (*cluster.Holder, error) {
	c := &set.Cluster
	volumes, err := p.store.VolumeIDs()
	if err != nil {
		return nil, fmt.Errorf("%s: mail_volume: %w", set.Where("mail_volume"), err)
	}
	r, err := registration(set, volumes)
	if err != nil {
		return nil, fmt.Errorf("%s: cluster_address: %w", set.Where("cluster_address"), err)
	}
	if r.Probe, err = probeUser(set); err != nil {
		return nil, fmt.Errorf("%s: health_check_user: %w", set.Where("health_check_user"), err)
	}
	return cluster.NewHolder(cluster.HolderConfig{
		Coordinator: p.clustered.coordinator, View: p.clustered.view, Clock: cluster.BootTime{}, Log: p.log,
		Name: nodeName(set), Incarnation: p.clustered.incarnation, Registration: r, Template: p.clustered.template,
		TTL: c.LeaseTTL, StorageTimeout: c.StorageTimeout, CommitCheck: cluster.CommitCheck(c.CommitCheck),
		Release: p.release, Suspend: p.suspend, Users: p.users, Keys: p.nodeKeys,
		Probe: p.store.ProbeVolumes, Pending: p.store.Pending,
	})
}

// registration is what this backend says of itself: where directors reach it, and what
// it has mounted.
func registration(set *config.Settings, volumes []string) (cluster.Registration, error) {
	c := &set.Cluster
	r := cluster.Registration{Tag: c.Tag, Volumes: volumes, Local: !set.Mail.VolumeShared, Version: version(), Admin: set.AdminAddress()}
	if l, ok := set.DirectListener(); ok {
		r.Port = uint16(l.Port)
		if r.Host = l.Address; l.Address == "0.0.0.0" || l.Address == "::" {
			host, err := os.Hostname()
			if err != nil {
				return r, err
			}
			r.Host = host
		}
		r.TLS = listenerTLS(set, &l)
	}
	switch {
	case c.Address == "" && r.Host == "":
		return r, errors.New("it is not set, and there is no listener without haproxy")
	case c.Address == "":
		return r, nil
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		r.Host = c.Address
		return r, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	r.Host, r.Port = host, uint16(n)
	for _, l := range set.Listeners {
		if l.Port == int(n) && !l.HAProxy {
			r.TLS = listenerTLS(set, &l)
		}
	}
	return r, err
}

// listenerTLS is how directors have to connect to a listener.
func listenerTLS(set *config.Settings, l *config.Listener) string {
	switch {
	case l.TLS:
		return "imaps"
	case set.TLS.Mode == "required":
		return "starttls"
	}
	return ""
}

// claims is the store's way to the Holder.
type claims struct{ *parts }

func (c *claims) Claim(ctx context.Context, user string) (store.Claim, error) {
	claim, err := c.holder.Claim(ctx, user)
	if err != nil {
		return nil, err
	}
	return claim, nil
}

// serves says, before a login has any effect, whether this backend holds the user. The
// error names who does, as far as is known.
func (p *parts) serves(ctx context.Context, user string, c *imapserver.Client) error {
	if p.holder == nil {
		return nil
	}
	err := p.holder.Serves(ctx, user, cluster.Revision(c.RouteRevision))
	if moved, is := errors.AsType[*cluster.Moved](err); is {
		return &imapserver.Moved{Revision: int64(moved.Revision), Holder: moved.Holder, Err: err}
	}
	return err
}

var errMoves = imap.Errorf(imap.CodeUnavailable, "Your mail moves to another server; please connect again")

// endTime is how long sessions have to finish what they are at before their accounts
// are closed under their hands.
const endTime = 2 * time.Second

// release ends the sessions of users who are given up, and closes their accounts. Back
// sessions go first: a right that is taken away at the new owner must bite.
func (p *parts) release(ctx context.Context, match func(user string) bool) error {
	leaving := func(s imapserver.SessionInfo) bool { return s.Backend == "" && s.User != "" && match(s.User) }
	p.imap.End(func(s imapserver.SessionInfo) bool { return leaving(s) && s.Acting != s.User }, errMoves)
	p.imap.End(leaving, errMoves)
	p.awaitEnded(ctx, leaving)
	return p.store.Evict(ctx, match)
}

// awaitEnded waits until no session matches, but not longer than endTime.
func (p *parts) awaitEnded(ctx context.Context, match func(imapserver.SessionInfo) bool) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for p.anySession(match) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *parts) anySession(match func(imapserver.SessionInfo) bool) bool {
	for s := range p.imap.Sessions() {
		if match(s) {
			return true
		}
	}
	return false
}

// suspend is called when the lease is lost, and when it is back. Meanwhile owners may
// still read; readers of others' mail may not: their rights may have been taken.
func (p *parts) suspend(lost bool) {
	if lost {
		p.imap.End(func(s imapserver.SessionInfo) bool { return s.Backend == "" && s.Acting != s.User }, errMoves)
	}
}

// users are those who have sessions here.
func (p *parts) users() []string {
	seen := map[string]struct{}{}
	var out []string
	for s := range p.imap.Sessions() {
		if _, had := seen[s.User]; had || s.User == "" || s.Backend != "" {
			continue
		}
		seen[s.User] = struct{}{}
		out = append(out, s.User)
	}
	return out
}

// takePart begins what this node does in a cluster; holding ends it.
func (p *parts) takePart(ctx context.Context) {
	if p.clustered == nil {
		return
	}
	ctx, p.holding = context.WithCancel(context.WithoutCancel(ctx))
	if p.holder != nil {
		p.tasks.Go(func() { p.hold(ctx) })
	}
	p.tasks.Go(func() { p.endLeft(ctx) })
	if p.latest().set.Cluster.Director {
		p.tasks.Go(func() { p.keeper.Run(ctx) })
	}
}

// hold holds users until ctx ends, and gives them up then. It fails if it can't begin.
func (p *parts) hold(ctx context.Context) {
	if err := p.holder.Run(ctx); err != nil && ctx.Err() == nil {
		p.fail(fmt.Errorf("this backend can't take part in the cluster: %w", err))
	}
}

// fail has the process end.
func (p *parts) fail(err error) {
	select {
	case p.failed <- err:
	default: // it ends already
	}
}
