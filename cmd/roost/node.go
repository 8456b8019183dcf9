package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin/adminhttp"
	"github.com/roost-mail/roost/audit"
	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/director"
	"github.com/roost-mail/roost/haproxy"
	"github.com/roost-mail/roost/health"
	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/remote"
	"github.com/roost-mail/roost/sasl"
	"github.com/roost-mail/roost/share"
	"github.com/roost-mail/roost/store"
	"github.com/roost-mail/roost/tlsconn"
	"github.com/roost-mail/roost/trust"
)

// node is what one configuration file asks for: a director, a backend, or both,
// as one reading of the file has it. A session keeps the node of its login;
// reload makes another with the same parts. It is never changed once it serves.
type node struct {
	*parts
	set       *config.Settings
	auth      *auth.Authenticator
	serverTLS *tls.Config // nil with ssl = no
	clientTLS *tls.Config
	globals   *acl.Globals      // rights on many mailboxes; nil without a file of them
	globalsAt os.FileInfo       // of the file, as it was read
	tokens    *adminhttp.Tokens // of the HTTP API; nil without admin_tokens_file
	peerToken string            // for that of other nodes

	privateFlags []imap.Flag // of readers of others' mail; not changed, as all sessions have it
	privateSeen  bool        // where a mailbox says nothing
}

// parts are what is made once, by newNode in the order of the fields, and
// closed in reverse; several nodes can live in one process.
type parts struct {
	log     *slog.Logger
	current atomic.Pointer[node] // for logins to come

	monitor   *health.Monitor
	placed    *cluster.Adjusted  // nil with a coordinator, and if this is no director
	clustered *clustered         // nil without a coordinator
	holder    *cluster.Holder    // nil unless this is a backend with a coordinator
	keeper    *cluster.Keeper    // nil unless this is a director with a coordinator
	verifier  *trust.Verifier    // nil if no other node's word is taken
	signer    *trust.Signer      // nil if this node gives none
	holding   context.CancelFunc // ends holder, and the other tasks of the cluster
	tasks     sync.WaitGroup     // that holding ends
	failed    chan error         // why the process has to end

	director  *director.Director
	store     *store.Store
	sharing   *sharing // nil without acl_shared_dict, as is publisher
	publisher *share.Publisher
	audit     *audit.Log             // nil without acl_audit_log
	foreign   map[string]*sharing    // of other installations, by the address
	holds     func(user string) bool // this backend holds them; nil without a coordinator
	veil      time.Duration          // of which it takes a multiple to hear that others have no such mailbox

	poller    *idle.Poller // waits for quiet connections
	imap      *imapserver.Server
	listeners []net.Listener     // with TLS where the file says so
	doors     []*imapserver.Door // what each of them is for
	running   sync.WaitGroup
	stop      context.CancelFunc // of what runs beside the listeners; nil before start

	observed   observed
	pulse      *pulse
	metrics    *http.Server // nil without metrics_listen
	metricsAt  net.Listener
	aclRefused atomic.Int64
	hops       imapclient.Counters // of connections for shared mail
	away       *remote.Away        // owners whom sessions here could not reach just now; nil without a coordinator

	administration administration
	reloading      sync.Mutex // one reload at a time

	conns   connCounts
	moves   *namespace.Moves // of all sessions
	lost    *lostReaders
	expirer *acl.Expirer
	members *memberships
	rawLogs rawLogs
}

// privateFlags are those that readers of others' mail have for themselves.
func privateFlags(set *config.Mail) []imap.Flag {
	flags := make([]imap.Flag, len(set.PrivateFlags))
	for i, f := range set.PrivateFlags {
		flags[i] = imap.CanonicalFlag(imap.Flag(f))
	}
	return flags
}

// privateSeen says whether readers of others' mail have flags of their own where a
// mailbox says nothing: INDEXPVT on any namespace of this installation that is not private
// switches it on.
func privateSeen(set *config.Settings) bool {
	for i := range set.Namespaces {
		if ns := &set.Namespaces[i]; ns.Type != "private" && !set.Foreign(ns) && hasIndexPvt(ns) {
			return true
		}
	}
	return false
}

func hasIndexPvt(ns *config.Namespace) bool {
	l, err := config.ParseLocation(ns.Location)
	return err == nil && l.IndexPvt != ""
}

// newNode builds everything and opens nothing but the sharing dictionary.
func newNode(ctx context.Context, set *config.Settings, log *slog.Logger) (n *node, err error) {
	p := &parts{
		log: log, conns: connCounts{open: map[connKey]int{}}, moves: namespace.NewMoves(), veil: evenTime,
		failed: make(chan error, 1), holding: func() {},
	}
	p.lost, p.expirer, p.members = newLostReaders(p), newExpirer(p), newMemberships(p)
	if n, err = p.read(set); err != nil {
		return nil, err
	}
	n.current.Store(n)
	if p.poller, err = idle.New(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = p.poller.Close()
		}
	}()
	if set.Cluster.Kind != config.NoCoordinator {
		if p.clustered, err = joinCluster(ctx, set, log); err != nil {
			return nil, err
		}
		p.away = remote.NewAway(p.clustered.holderOf(set.Cluster.Tag))
		defer func() {
			if err != nil {
				_ = p.clustered.close()
			}
		}()
	}
	n.newTrust(set)
	if n.monitor, err = n.newMonitor(ctx); err != nil {
		return nil, err
	}
	if n.director, err = n.newDirector(ctx); err != nil {
		return nil, err
	}
	if err := n.makeStore(); err != nil {
		return nil, err
	}
	if err := n.openSharing(); err != nil {
		return nil, err
	}
	if err := n.openAudit(); err != nil {
		return nil, err
	}
	cfg, err := n.imapConfig()
	if err != nil {
		return nil, err
	}
	n.imap = imapserver.New(cfg)
	n.newAdministration()
	n.observe(nodeName(set))
	n.pulse = newPulse(cluster.BootTime{})
	n.pulse.addNode(n.parts)
	return n, nil
}

// makeStore makes the store, and with a coordinator what says whose mail it may open.
func (n *node) makeStore() (err error) {
	set := n.set
	if set.Cluster.Backend && len(set.Mail.Volumes) == 0 {
		n.log.Warn("mail_volume is not set: a filesystem that is not mounted would look like empty mailboxes")
	}
	for _, w := range volumesAway(set) {
		n.log.Error(w.Text, "where", w.Pos.String())
	}
	options := storeOptions(set, n.log)
	if set.Cluster.Kind != config.NoCoordinator && set.Cluster.Backend {
		options.Holder, options.Ownership = nodeName(set), &claims{n.parts}
	}
	n.store = store.New(options)
	if options.Ownership == nil {
		return nil
	}
	if n.holder, err = n.newHolder(set); err != nil {
		return err
	}
	n.holds = n.holder.Holds
	return nil
}

// read makes the node of a configuration.
func (p *parts) read(set *config.Settings) (*node, error) {
	n := &node{parts: p, set: set, privateFlags: privateFlags(&set.Mail), privateSeen: privateSeen(set)}
	var err error
	if n.auth, err = auth.New(authConfig(set, p.log)); err != nil {
		return nil, err
	}
	for _, w := range slices.Concat(unreadable(set), coordinatorDoubts(set)) {
		p.log.Error(w.Text, "where", w.Pos.String())
	}
	if set.TLS.Mode != "no" {
		n.serverTLS = set.TLS.Server.TLS()
	}
	if n.clientTLS, err = set.TLS.Client.TLS(); err != nil {
		return nil, fmt.Errorf("%s: ssl_client_ca_file, ssl_client_ca_dir: %w", set.Where("ssl_client_ca_file"), err)
	}
	if err := n.readGlobals(); err != nil {
		return nil, err
	}
	return n, n.readTokens()
}

// latest is the node of the latest reading.
func (p *parts) latest() *node { return p.current.Load() }

// holderName is this backend's name in the manifests of the mail it holds:
// instance_name, which the administrator keeps apart, or what keeps two
// backends apart by itself as long as host and port stay.
func holderName(set *config.Settings) string {
	if !set.Where("instance_name").IsZero() {
		return set.General.InstanceName
	}
	host, _ := os.Hostname()
	for _, l := range set.Listeners {
		return host + "/" + net.JoinHostPort(l.Address, strconv.Itoa(l.Port))
	}
	return host
}

// newDirector makes what sends logins on. Without director_mail_servers it
// serves only users whose passdb entry names a host.
func (n *node) newDirector(ctx context.Context) (*director.Director, error) {
	set := n.set
	cfg := director.Config{Log: n.log, TLS: func() *tls.Config { return n.latest().clientTLS }}
	switch {
	case n.clustered != nil:
		cfg.Locator = n.clustered.routes
		if set.Cluster.Director {
			var err error
			if n.keeper, err = n.newKeeper(set); err != nil {
				return nil, err
			}
			cfg.Admit = n.admit
		}
	case set.Director.Enabled:
		var err error
		if n.placed, err = newLocator(ctx, set); err != nil {
			return nil, err
		}
		cfg.Locator = n.placed
	}
	switch {
	case !set.Where("login_proxy_timeout").IsZero():
		cfg.Timeout = set.Login.ProxyTimeout // Dovecot's default of 30 s is too long for a client to wait
	case set.Cluster.Kind != config.NoCoordinator:
		cfg.Timeout = 10 * time.Second // within which another backend takes over
	}
	cfg.Reconnects, cfg.DisconnectDelay = set.Login.ProxyMaxReconnects, set.Login.ProxyMaxDisconnectDelay
	cfg.Sources, cfg.Poller = set.Login.SourceIPs, n.poller
	cfg.Refuses = func(addr string) (string, bool) { return n.monitor.Refuses(addr) }
	return director.New(cfg), nil
}

// newLocator places users as Dovecot's director does.
func newLocator(ctx context.Context, set *config.Settings) (*cluster.Adjusted, error) {
	template, err := cluster.ParseTemplate(set.Director.UsernameHash)
	if err != nil {
		return nil, fmt.Errorf("%s: director_username_hash: %w", set.Where("director_username_hash"), err)
	}
	members, err := members(ctx, set)
	if err == nil {
		var locator *cluster.Adjusted
		if locator, err = cluster.NewAdjusted(template, members); err == nil {
			return locator, nil
		}
	}
	return nil, fmt.Errorf("%s: director_mail_servers: %w", set.Where("director_mail_servers"), err)
}

// members are the backends of director_mail_servers; a host name stands for all
// its addresses.
func members(ctx context.Context, set *config.Settings) ([]cluster.Member, error) {
	var words []string
	for _, s := range set.Director.MailServers {
		word := s.Host
		if s.Port != 0 {
			word = net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
		}
		if s.Tag != "" {
			word += "@" + s.Tag
		}
		words = append(words, word)
	}
	return cluster.ParseMembers(ctx, strings.Join(words, " "), net.DefaultResolver)
}

func (n *node) imapConfig() (imapserver.Config, error) {
	set := n.set
	mechanisms, err := sasl.Select(set.Auth.Mechanisms...)
	if err != nil {
		return imapserver.Config{}, fmt.Errorf("%s: auth_mechanisms: %w", set.Where("auth_mechanisms"), err)
	}
	if n.verifier != nil {
		mechanisms = append(mechanisms, sasl.DelegationMechanism())
	}
	return imapserver.Config{
		Log: n.log, Authenticator: n.parts, Greeting: set.Login.Greeting,
		Trusted:          func(a netip.Addr) bool { return n.latest().trusts(a) },
		PlaintextAllowed: func(c *imapserver.Client) bool { return n.latest().plaintextAllowed(c) },
		SecuredOnly:      func() bool { return n.latest().set.TLS.Mode == "required" },
		TLS:              func() *tls.Config { return n.latest().serverTLS },
		IdleKeepalive:    set.IMAP.IdleNotifyInterval,
		MaxLine:          set.IMAP.MaxLineLength,
		MaxLogins:        func() int { return n.latest().set.Login.MaxIPConnections },
		SlowCommand:      time.Second,
		Poller:           n.poller,

		AppendLimitVaries: set.Quota != nil && set.Quota.MaxMailSize > 0,
		IDFields:          idFields(set.IMAP.IDSend),
		Mechanisms:        mechanisms,
	}, nil
}

// trusts says whether a peer is a director or proxy of ours (login_trusted_networks).
func (n *node) trusts(a netip.Addr) bool { return contains(n.set.Login.TrustedNetworks, a) }

func contains(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// plaintextAllowed says whether a password may be sent as it is: within TLS, ours or
// that of a proxy with a PROXY header, from this machine and from our own proxies
// always, otherwise if both disable_plaintext_auth and ssl allow it.
func (n *node) plaintextAllowed(c *imapserver.Client) bool {
	local := fromHere(c)
	return c.TLS || c.CarrierTLS || c.Trusted || local || !n.set.Auth.DisablePlaintext && n.set.TLS.Mode != "required"
}

// fromHere says whether a client is on this machine. A PROXY header does not say on
// which machine its addresses are.
func fromHere(c *imapserver.Client) bool {
	return !c.Carrier.IsValid() && (c.Peer.Addr().IsLoopback() || c.Peer.IsValid() && c.Peer.Addr() == c.Local.Addr())
}

// listen opens the ports, or takes those that given holds by address.
func (n *node) listen(ctx context.Context, given map[string]net.Listener) error {
	lc := net.ListenConfig{KeepAlive: -1, Control: keepAlive}
	for _, l := range n.set.Listeners {
		addr := net.JoinHostPort(l.Address, strconv.Itoa(l.Port))
		ln := given[addr]
		if ln == nil {
			var err error
			ln, err = lc.Listen(ctx, network(l.Address), addr)
			if err != nil && l.Address == "::" && n.set.Where("listen").IsZero() && !errors.Is(err, syscall.EADDRINUSE) {
				n.log.Warn("no IPv6 here", "addr", addr, "error", err)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", l.Pos, err)
			}
		}
		if l.HAProxy {
			ln = haproxy.Listen(ln, haproxy.Config{
				Log: n.log, Trusted: func(a netip.Addr) bool { return contains(n.latest().set.Login.HAProxyNetworks, a) },
				Timeout: func() time.Duration { return n.latest().set.Login.HAProxyTimeout },
			})
		}
		if l.TLS {
			ln = tlsconn.Listener(ln, func() *tls.Config { return n.latest().serverTLS })
		}
		n.listeners = append(n.listeners, ln)
		n.doors = append(n.doors, &imapserver.Door{NoMasters: !l.Masters, ClientCert: l.ClientCert})
	}
	if err := n.listenAdmin(); err != nil {
		return err
	}
	return n.listenMetrics(ctx)
}

// keepAlive has a connection that says nothing be probed after five minutes, given
// up after two more. Connections have it from their listener, which saves each
// three calls of the system.
func keepAlive(_, _ string, c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) {
		for _, option := range [...]struct{ level, name, value int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.SOL_TCP, unix.TCP_KEEPIDLE, 300},
			{unix.SOL_TCP, unix.TCP_KEEPINTVL, 15},
		} {
			err = errors.Join(err, unix.SetsockoptInt(int(fd), option.level, option.name, option.value))
		}
	})
	return errors.Join(err, cerr)
}

// idFields are what the ID command answers (imap_id_send): pairs of name and
// value, where * is our own value, which we have for the name only.
func idFields(setting string) map[string]string {
	fields := map[string]string{}
	words := strings.Fields(setting)
	for i := 0; i+1 < len(words); i += 2 {
		switch name, value := words[i], words[i+1]; {
		case value != "*":
			fields[name] = value
		case name == "name":
			fields[name] = "Roost"
		}
	}
	return fields
}

// network keeps 0.0.0.0 and :: apart: each address of listen is a socket of its own.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return "tcp"
	case ip.Is4():
		return "tcp4"
	}
	return "tcp6"
}

// start serves the listeners until close.
func (n *node) start(ctx context.Context) {
	n.takePart(ctx)
	beside, stop := context.WithCancel(ctx)
	n.stop = stop
	for _, run := range []func(context.Context){n.monitor.Run, n.pulse.run, n.serveMetrics, n.lost.run, n.followGlobals, n.expirer.Run, n.members.run} {
		n.running.Go(func() { run(beside) })
	}
	n.serveAdmin()
	for i, ln := range n.listeners {
		n.log.Info("listening", "addr", ln.Addr().String())
		n.running.Go(func() {
			if err := n.imap.ServeDoor(ctx, ln, n.doors[i]); err != nil && !errors.Is(err, imapserver.ErrClosed) && ctx.Err() == nil {
				n.log.Error("listener failed", "addr", ln.Addr().String(), "error", err)
			}
		})
	}
}

// close ends the sessions with a BYE, then closes the mail cleanly.
func (n *node) close(ctx context.Context) error {
	n.holding() // gives up all users before their sessions end, so that others take them at once
	n.tasks.Wait()
	var errs []error
	if n.imap != nil {
		errs = append(errs, n.imap.Shutdown(ctx))
	}
	errs = append(errs, n.closeAdmin(ctx))
	if n.stop != nil {
		n.stop()
	}
	n.running.Wait()
	errs = append(errs, n.poller.Close())
	if n.publisher != nil {
		n.publisher.Close()
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.audit != nil {
		errs = append(errs, n.audit.Close())
	}
	if n.sharing != nil {
		errs = append(errs, n.sharing.close())
	}
	for _, x := range n.foreign {
		errs = append(errs, x.close())
	}
	if n.clustered != nil {
		errs = append(errs, n.clustered.close())
	}
	return errors.Join(errs...)
}
