package main

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/cluster/coordetcd/member"
	"github.com/roost-mail/roost/config"
)

// ring is the members of an embedded coordinator, for administrators.
type ring struct{ set *config.Cluster }

var _ admin.Ring = (*ring)(nil)

func (r *ring) changer() (*member.Changer, error) {
	t, err := coordinatorTLS(r.set)
	if err != nil {
		return nil, err
	}
	return member.NewChanger(r.set.Endpoints, t)
}

// Members implements admin.Ring.
func (r *ring) Members(ctx context.Context) ([]admin.RingMember, error) {
	c, err := r.changer()
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // it was only read
	members, err := c.Members(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(members, func(a, b member.Info) int { return strings.Compare(a.Name, b.Name) })
	var out []admin.RingMember
	for _, m := range members {
		leader, err := c.Ask(ctx, m)
		shown := admin.RingMember{Name: m.Name, Address: strings.Join(m.PeerURLs, " "), Leader: leader, Healthy: err == nil && !m.Learner}
		switch {
		case err != nil:
			shown.Trouble = err.Error()
		case m.Learner:
			shown.Trouble = "it does not vote yet: it learns, or waits for another that joins"
		}
		out = append(out, shown)
	}
	return out, nil
}

// Add implements admin.Ring. hosts are one or more, with commas.
func (r *ring) Add(ctx context.Context, hosts string) error {
	c, err := r.changer()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the change is made
	return c.Join(ctx, r.peerURLs(hosts)...)
}

// Remove implements admin.Ring. A single member whose data were lost may go if it
// joins again.
func (r *ring) Remove(ctx context.Context, names string) error {
	c, err := r.changer()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the change is made
	list := strings.Split(names, ",")
	return c.Leave(ctx, len(list) == 1, list...)
}

func (r *ring) peerURLs(hosts string) (out []string) {
	for _, host := range strings.Split(hosts, ",") {
		u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(r.set.PeerPort))}
		if r.set.CAFile != "" {
			u.Scheme = "https"
		}
		out = append(out, u.String())
	}
	return out
}
