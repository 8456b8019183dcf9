// Package member runs a member of etcd inside this process, so that a cluster's
// directors can be their own coordinator.
package member

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// Config says what a member is.
type Config struct {
	Host  string   // by which the others reach this member; one of Hosts, unless it joins later
	Hosts []string // the members that a cluster begins with

	ClientPort, PeerPort int
	Dir                  string // of its data, on another disk than the mail

	// CAFile, CertFile and KeyFile are of the authority that all nodes and members have
	// their certificates from. Without them nothing is encrypted, and anybody who
	// reaches a port may do anything.
	CAFile, CertFile, KeyFile string

	// Listen is the address of the ports; empty is all.
	Listen string

	Volumes []string // filesystems of the mail, of which Dir should be on none

	Log *slog.Logger
}

// Times of a member, for machines in one place.
const (
	tickTime     = 50  // milliseconds
	electionTime = 500 // milliseconds: without a leader for that long another is elected

	quota = 512 << 20 // bytes of data; a large cluster has some 10 MB
	keep  = "5m"      // of history, for those who watch and were away
)

// Member is a member that runs.
type Member struct {
	cfg     Config
	server  *embed.Etcd
	log     *slog.Logger
	syncs   syncs
	watches *watches
	stop    context.CancelFunc
	ending  sync.WaitGroup // what stop ends
}

// Start starts the member, with its data if there are any. With none it begins a new
// cluster together with Hosts, or takes its place in one that was told of it by Join.
// A member whose data are lost is refused: it has to leave first. Start does not wait
// for the others.
func Start(ctx context.Context, cfg Config) (*Member, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := cfg.embed()
	c.ClusterState = embed.ClusterStateFlagNew
	if !hasData(cfg.Dir) {
		initial, err := cfg.existing(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case initial != "":
			c.ClusterState, c.InitialCluster = embed.ClusterStateFlagExisting, initial
		case len(cfg.Hosts)%2 == 0:
			return nil, fmt.Errorf("%d members: %w", len(cfg.Hosts), errEven)
		}
	}
	if v := sharesDisk(cfg.Dir, cfg.Volumes); v != "" {
		cfg.Log.Warn("coordinator: its data are on the disk of mail, whose writes hold it up: elections may follow", "dir", cfg.Dir, "volume", v)
	}
	w := newWatches()
	c.GRPCAdditionalServerOptions = append(c.GRPCAdditionalServerOptions, grpc.ChainStreamInterceptor(w.serve))
	server, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("coordinator's member %s: %w", cfg.Host, err)
	}
	m := &Member{cfg: cfg, server: server, log: cfg.Log, watches: w}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.ending.Go(func() { m.promote(running) })
	m.ending.Go(func() { m.syncs.watch(running, cfg.Log) })
	return m, nil
}

// Stop ends the member. The others go on if they are the majority.
func (m *Member) Stop() {
	m.stop()
	m.ending.Wait()
	if left := m.watches.end(); left > 0 {
		m.log.Warn("coordinator: watches do not end, so this member takes seconds to stop", "watches", left)
	}
	select {
	case <-m.Ready():
	default:
		m.server.Server.Stop() // Close alone would wait until the others are there
	}
	m.server.Close()
}

// Ready is closed when the member serves.
func (m *Member) Ready() <-chan struct{} { return m.server.Server.ReadyNotify() }

func hasData(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, "member", "wal"))
	return err == nil && len(entries) > 0
}

func (c *Config) url(host string, port int) url.URL {
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))}
	if c.CAFile != "" {
		u.Scheme = "https"
	}
	return u
}

func (c *Config) peerURL(host string) string {
	u := c.url(host, c.PeerPort)
	return u.String()
}

// embed is the server's configuration.
func (c *Config) embed() *embed.Config {
	e := embed.NewConfig()
	e.Name, e.Dir = c.Host, c.Dir
	e.TickMs, e.ElectionMs = tickTime, electionTime
	e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModePeriodic, keep
	e.QuotaBackendBytes = quota
	e.MaxLearners = 2
	e.StrictReconfigCheck = false // Changer is as strict, but lets two join before either has started
	e.InitialClusterToken = "roost"
	listen := c.Listen
	switch {
	case listen != "":
	case strings.Contains(c.Host, ":"):
		listen = "::"
	default:
		listen = "0.0.0.0"
	}
	e.ListenClientUrls = []url.URL{c.url(listen, c.ClientPort)}
	e.ListenPeerUrls = []url.URL{c.url(listen, c.PeerPort)}
	e.AdvertiseClientUrls = []url.URL{c.url(c.Host, c.ClientPort)}
	e.AdvertisePeerUrls = []url.URL{c.url(c.Host, c.PeerPort)}
	var initial []string
	for _, host := range c.Hosts {
		initial = append(initial, host+"="+c.peerURL(host))
	}
	e.InitialCluster = strings.Join(initial, ",")
	if c.CAFile != "" {
		info := transport.TLSInfo{
			TrustedCAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile,
			ClientCertAuth:      true,
			SkipClientSANVerify: true, // nodes may have more addresses than they are named by
		}
		e.ClientTLSInfo, e.PeerTLSInfo = info, info
	}
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(c.Log))
	return e
}

// askTime bounds a question to the other members at the start.
const askTime = 3 * time.Second

// existing gives the members of a cluster that expects this one, as etcd writes them;
// "" if no cluster answers.
func (c *Config) existing(ctx context.Context) (initial string, err error) {
	members, err := c.list(ctx)
	if err != nil || len(members) == 0 {
		return "", nil // nobody is there: the cluster begins
	}
	var names []string
	known := false
	for _, m := range members {
		name := m.Name
		if slices.Contains(m.PeerURLs, c.peerURL(c.Host)) {
			switch {
			case len(m.Clients) > 0:
				return "", fmt.Errorf("%s has no data, but is a member of the coordinator: its data were lost; say `roost director ring remove %s` and then `roost director ring add %s`", c.Dir, c.Host, c.Host)
			case name != "":
				return "", nil // the cluster begins, and others were faster
			}
			known, name = true, c.Host
		}
		for _, peer := range m.PeerURLs {
			names = append(names, name+"="+peer)
		}
	}
	if !known {
		return "", fmt.Errorf("%s is not a member of the coordinator that answers: say `roost director ring add %s` first", c.Host, c.Host)
	}
	return strings.Join(names, ","), nil
}

// list asks the other members who is one.
func (c *Config) list(ctx context.Context) ([]Info, error) {
	var others []string
	for _, host := range c.Hosts {
		if host != c.Host {
			others = append(others, net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(c.ClientPort)))
		}
	}
	if len(others) == 0 {
		return nil, nil
	}
	t, err := c.clientTLS()
	if err != nil {
		return nil, err
	}
	client, err := newClient(others, t)
	if err != nil {
		return nil, err
	}
	defer client.Close() //nolint:errcheck // it was only read
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return list(ctx, client)
}

func (c *Config) clientTLS() (*tls.Config, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	return transport.TLSInfo{TrustedCAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}.ClientConfig()
}

func newClient(endpoints []string, t *tls.Config) (*clientv3.Client, error) {
	scheme := "http://"
	if t != nil {
		scheme = "https://"
	}
	urls := make([]string, len(endpoints))
	for i, at := range endpoints {
		urls[i] = scheme + at
	}
	return clientv3.New(clientv3.Config{Endpoints: urls, TLS: t, DialTimeout: askTime, Logger: zap.NewNop()})
}

// promotePause is between two attempts to become a voter.
const promotePause = 2 * time.Second

// promote makes this member a voter, if it joined as a learner, once it knows what the
// others do and the voters are of an odd number with it and the other learners.
func (m *Member) promote(ctx context.Context) {
	select {
	case <-m.Ready():
	case <-ctx.Done():
		return
	}
	for m.server.Server.IsLearner() {
		members := m.server.Server.Cluster().Members()
		if len(members)%2 == 1 {
			brief, cancel := context.WithTimeout(ctx, askTime)
			_, err := m.server.Server.PromoteMember(brief, uint64(m.server.Server.MemberID()))
			cancel()
			if err == nil {
				m.log.Info("coordinator: this member votes now", "member", m.cfg.Host)
				return
			}
		}
		select {
		case <-time.After(promotePause):
		case <-ctx.Done():
			return
		}
	}
}

// errEven says why a number of members is refused.
var errEven = errors.New("of an even number of members no more may fail than of one less, and one more must not: name two hosts, or one of the backends as a witness")
