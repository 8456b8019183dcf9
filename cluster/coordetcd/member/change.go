package member

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Info is a member as the others know it.
type Info struct {
	ID       uint64   `json:"id"`
	Name     string   `json:"name"` // empty until it has started
	PeerURLs []string `json:"peerURLs"`
	Clients  []string `json:"clientURLs"`        // empty until it has started once
	Learner  bool     `json:"learner,omitempty"` // it does not vote yet
}

func list(ctx context.Context, client *clientv3.Client) ([]Info, error) {
	res, err := client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Info, len(res.Members))
	for i, m := range res.Members {
		out[i] = Info{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, Clients: m.ClientURLs, Learner: m.IsLearner}
	}
	return out, nil
}

// Changer changes who is a member of a coordinator that runs.
type Changer struct{ client *clientv3.Client }

// NewChanger reaches a coordinator at its members' client ports.
func NewChanger(endpoints []string, t *tls.Config) (*Changer, error) {
	client, err := newClient(endpoints, t)
	if err != nil {
		return nil, err
	}
	return &Changer{client}, nil
}

// Close ends the connection.
func (c *Changer) Close() error { return c.client.Close() }

// Members are those that there are.
func (c *Changer) Members(ctx context.Context) ([]Info, error) { return list(ctx, c.client) }

// Join tells the members of new ones, by their peer URLs. Each has to be started then,
// and votes when it has learnt what the others know. The number of all must be odd.
func (c *Changer) Join(ctx context.Context, peerURLs ...string) error {
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	var fresh []string
	for _, peer := range peerURLs {
		if u, err := url.Parse(peer); err != nil || u.Host == "" {
			return fmt.Errorf("%q is no URL", peer)
		}
		if !slices.ContainsFunc(members, func(m Info) bool { return slices.Contains(m.PeerURLs, peer) }) {
			fresh = append(fresh, peer)
		}
	}
	if (len(members)+len(fresh))%2 == 0 {
		return fmt.Errorf("%d members: %w", len(members)+len(fresh), errEven)
	}
	for _, peer := range fresh {
		if err := c.add(ctx, peer); err != nil {
			return fmt.Errorf("join %s: %w", peer, err)
		}
	}
	return nil
}

// add tells the members of a new one. etcd makes its identifier from its URL and the
// second: one that left in the second in which it had joined is refused until the next.
func (c *Changer) add(ctx context.Context, peer string) error {
	_, err := c.client.MemberAddAsLearner(ctx, []string{peer})
	if !errors.Is(err, rpctypes.ErrMemberNotFound) {
		return err
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err = c.client.MemberAddAsLearner(ctx, []string{peer})
	return err
}

// Leave takes members away, by name or peer URL. Those that are left must be of an odd
// number, unless one goes whose data are lost and that joins again at once (again).
func (c *Changer) Leave(ctx context.Context, again bool, names ...string) error {
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	var ids []uint64
	left := slices.Clone(members)
	for _, name := range names {
		at := slices.IndexFunc(members, func(m Info) bool { return m.Name == name || slices.Contains(m.PeerURLs, name) })
		if at < 0 {
			return fmt.Errorf("%s is no member", name)
		}
		id := members[at].ID
		ids = append(ids, id)
		left = slices.DeleteFunc(left, func(m Info) bool { return m.ID == id })
	}
	if n := len(left); n < 1 || n%2 == 0 && !again {
		return fmt.Errorf("%d members would be left: %w", n, errEven)
	}
	if n := c.wellOf(ctx, left); n <= len(left)/2 {
		return fmt.Errorf("of the %d members that would be left only %d answer: they could agree on nothing", len(left), n)
	}
	for i, id := range ids {
		if _, err := c.client.MemberRemove(ctx, id); err != nil {
			return fmt.Errorf("leave %s: %w", names[i], err)
		}
	}
	return nil
}

// wellOf is how many of the members answer and vote.
func (c *Changer) wellOf(ctx context.Context, members []Info) (n int) {
	for _, m := range members {
		if _, err := c.Ask(ctx, m); err == nil && !m.Learner {
			n++
		}
	}
	return n
}

// Ask says whether a member is the leader, or why it does not answer.
func (c *Changer) Ask(ctx context.Context, m Info) (leader bool, err error) {
	if len(m.Clients) == 0 {
		return false, errors.New("it has not started yet")
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s, err := c.client.Status(ctx, m.Clients[0])
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer within %v", askTime)
	}
	return err == nil && s.Leader == m.ID, err
}
