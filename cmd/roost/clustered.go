package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd"
	"github.com/roost-mail/roost/cluster/coordetcd/member"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/tlsconn"
)

// clustered is a node's part in a cluster that has a coordinator.
type clustered struct {
	member      *member.Member // nil: this node is none of the coordinator's
	coordinator cluster.Coordinator
	measured    *cluster.Measured // which it is
	params      cluster.Params
	template    cluster.Template
	view        *cluster.View
	routes      *cluster.Routes
	incarnation string // of this process; no other has had it

	stop    context.CancelFunc
	running sync.WaitGroup
}

// joinCluster connects to the coordinator, agrees with the other nodes on what all must
// have in common, and follows the cluster's map from then on. Until the coordinator
// answers it waits, and says so.
func joinCluster(ctx context.Context, set *config.Settings, log *slog.Logger) (*clustered, error) {
	c := &clustered{incarnation: rand.Text()}
	var err error
	if c.template, err = cluster.ParseTemplate(set.Director.UsernameHash); err != nil {
		return nil, fmt.Errorf("%s: director_username_hash: %w", set.Where("director_username_hash"), err)
	}
	if err = c.connect(ctx, set, log); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: cluster: %w", set.Where("cluster"), err), c.disconnect())
	}
	clock := cluster.BootTime{}
	c.view = cluster.NewView(cluster.ViewConfig{Coordinator: c.coordinator, Clock: clock, Log: log})
	c.routes = cluster.NewRoutes(cluster.RoutesConfig{View: c.view, Clock: clock, Template: c.template, Resolver: net.DefaultResolver})
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.running.Go(func() { c.view.Run(following) })
	return c, nil
}

// connect starts this node's member of the coordinator, if it is one, and agrees with
// the other nodes.
func (c *clustered) connect(ctx context.Context, set *config.Settings, log *slog.Logger) (err error) {
	if c.member, err = startMember(ctx, set, log); err != nil {
		return err
	}
	coordinator, err := newCoordinator(set, log)
	if err != nil {
		return err
	}
	c.measured = cluster.Measure(coordinator, cluster.BootTime{})
	c.coordinator = c.measured
	own := cluster.NewParams(set.Director.UsernameHash, set.Auth.UsernameFormat)
	c.params, err = join(ctx, c.coordinator, own, log)
	return err
}

func (c *clustered) disconnect() (err error) {
	if c.coordinator != nil {
		err = c.coordinator.Close()
	}
	if c.member != nil {
		c.member.Stop()
	}
	return err
}

// close no longer follows the cluster, and ends this node's member of the coordinator.
func (c *clustered) close() error {
	c.stop()
	c.running.Wait()
	return c.disconnect()
}

// startMember starts the member of an embedded coordinator that this host is.
func startMember(ctx context.Context, set *config.Settings, log *slog.Logger) (*member.Member, error) {
	s := &set.Cluster
	if s.Kind != config.EmbeddedCoordinator {
		return nil, nil
	}
	host, err := memberHost(ctx, s)
	if err != nil {
		return nil, err
	}
	if host == "" {
		log.Info("coordinator: no member of it runs here, as nobody of director_servers and cluster_witness has an address of this host", "members", s.MemberHosts)
		return nil, nil
	}
	return member.Start(ctx, member.Config{
		Host: host, Hosts: s.MemberHosts, ClientPort: s.ClientPort, PeerPort: s.PeerPort, Dir: s.DataDir,
		CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile, Volumes: set.Mail.Volumes, Log: log,
	})
}

// memberHost is which of the members this host is, by its addresses; "" if none.
func memberHost(ctx context.Context, s *config.Cluster) (string, error) {
	if s.Member != "" {
		return s.Member, nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, host := range s.MemberHosts {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return "", fmt.Errorf("%s of director_servers: %w", host, err)
		}
		for _, addr := range own {
			prefix, err := netip.ParsePrefix(addr.String())
			own := func(ip netip.Addr) bool { return ip.Unmap() == prefix.Addr() } // a resolver may give ::ffff:192.0.2.1
			if err == nil && slices.ContainsFunc(ips, own) {
				return host, nil
			}
		}
	}
	return "", nil
}

// Waits between attempts to reach the coordinator at the start, and between two lines
// of the log about it.
const (
	joinPause = time.Second
	joinSaid  = 30 * time.Second
)

// join agrees on the cluster's parameters. It tries until ctx ends, but a node that
// differs from the others fails at once.
func join(ctx context.Context, c cluster.Coordinator, own cluster.Params, log *slog.Logger) (cluster.Params, error) {
	var said time.Time
	for {
		p, err := cluster.Join(ctx, c, own)
		if err == nil || p.Slots != 0 {
			return p, err
		}
		if time.Since(said) > joinSaid {
			log.Warn("the coordinator can't be reached; nothing is served until it can", "error", err)
			said = time.Now()
		}
		select {
		case <-time.After(joinPause):
		case <-ctx.Done():
			return cluster.Params{}, err
		}
	}
}

func newCoordinator(set *config.Settings, log *slog.Logger) (cluster.Coordinator, error) {
	s := &set.Cluster
	t, err := coordinatorTLS(s)
	if err != nil {
		return nil, err
	}
	return coordetcd.New(coordetcd.Config{
		Endpoints: s.Endpoints, Prefix: s.Prefix, TLS: t, User: s.User, Password: s.Password, Log: log,
	})
}

// coordinatorTLS is nil without cluster_ssl_ca. A certificate that is renewed is shown from
// the next connection on.
func coordinatorTLS(s *config.Cluster) (*tls.Config, error) {
	if s.CAFile == "" {
		return nil, nil
	}
	client := tlsconn.ClientConfig{CAFile: s.CAFile}
	if s.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile); err != nil {
			return nil, fmt.Errorf("cluster_ssl_cert, cluster_ssl_key: %w", err)
		}
	}
	t, err := client.TLS()
	if err != nil {
		return nil, fmt.Errorf("cluster_ssl_ca: %w", err)
	}
	if s.CertFile != "" {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
			return &pair, err
		}
	}
	return t, nil
}

// coordinatorDoubts are what an administrator should know of cluster_ssl_cert.
func coordinatorDoubts(set *config.Settings) (doubts []config.Warning) {
	pair, err := tls.LoadX509KeyPair(set.Cluster.CertFile, set.Cluster.KeyFile)
	if set.Cluster.CertFile == "" || err != nil {
		return nil // coordinatorTLS says so
	}
	for _, doubt := range tlsconn.Doubts(&pair, nil, time.Now()) {
		doubts = append(doubts, config.Warning{Pos: set.Where("cluster_ssl_cert"), Text: "cluster_ssl_cert: " + doubt})
	}
	return doubts
}

// leftPause is how long changes of the map are gathered before sessions are compared
// with it.
const leftPause = 100 * time.Millisecond

// leftAgain is after how long they are compared though nothing has changed: one may have
// logged in just when something did.
const leftAgain = 5 * time.Second

// endLeft ends, on a director, the sessions that lead to a backend which no longer
// holds their user: it may be cut off, and would never say so; and everywhere those of
// which strays is true. It tells of mixed tags too. It returns when ctx ends.
func (p *parts) endLeft(ctx context.Context) {
	c := p.clustered
	seen, mixed := cluster.Revision(0), mixedTags{}
	var kinds map[string]cluster.Kinds
	for {
		looking, done := context.WithTimeout(ctx, leftAgain)
		_ = c.view.Await(looking, func(m *cluster.Map) bool {
			if m.Revision == seen {
				return false
			}
			seen = m.Revision
			return true
		})
		done()
		if ctx.Err() != nil {
			return
		}
		c.view.Read(func(m *cluster.Map) { kinds = m.Kinds() })
		mixed.tell(kinds, p.log)
		if n := p.imap.End(func(s imapserver.SessionInfo) bool { return c.left(s) || p.strays(s) }, errUserLeft); n > 0 {
			p.log.Info("sessions ended: other backends hold their users now", "sessions", n)
		}
		select {
		case <-time.After(leftPause):
		case <-ctx.Done():
			return
		}
	}
}

// mixedTags are the tags that the log was told of: their backends do not keep the same mail.
type mixedTags map[string]bool

// tell tells the log what has changed.
func (told mixedTags) tell(kinds map[string]cluster.Kinds, log *slog.Logger) {
	for tag, k := range kinds {
		if k.Mixed() && !told[tag] {
			told[tag] = true
			log.Error("backends of one tag are of two kinds, which do not keep the same mail: give those that are no Roost a tag of their own (roost director remove, add --foreign -t TAG), and their users that director_tag",
				"tag", tag, "roost", k.Roost, "no_roost", k.Foreign)
		}
	}
	for tag := range told {
		if !kinds[tag].Mixed() {
			delete(told, tag)
			log.Info("backends of one tag are of one kind again", "tag", tag)
		}
	}
}

var errUserLeft = imap.Errorf(imap.CodeUnavailable, "Your mail moves to another server")

// left says whether somebody else than a session's backend holds its user. While
// nobody does, the session stays: its backend may come back.
func (c *clustered) left(s imapserver.SessionInfo) (left bool) {
	if s.BackendName == "" {
		return false
	}
	c.view.Read(func(m *cluster.Map) {
		n, _ := m.Node(s.BackendName)
		held, at := m.Held(m.UnitOf(s.BackendUser, n.Registration.Tag, cluster.SlotOf(c.template, s.BackendUser)))
		left = at != 0 && held.Backend != s.BackendName && m.Holds(held)
	})
	return left
}

// holderOf says in some words who holds an owner, for remote.Away. An owner of another tag, or
// of another installation, seems to change hands with whoever is in that place here, which only
// has failures be forgotten sooner.
func (c *clustered) holderOf(tag string) func(server, owner string) string {
	return func(_, owner string) (holder string) {
		c.view.Read(func(m *cluster.Map) {
			held, at := m.Held(m.UnitOf(owner, tag, cluster.SlotOf(c.template, owner)))
			holder = fmt.Sprint(held.Backend, " ", at, " ", m.Holds(held))
		})
		return holder
	}
}
