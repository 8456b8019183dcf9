package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/adminhttp"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/tlsconn"
)

// administration is what administrators reach this process by.
type administration struct {
	admin  *admin.Admin
	server *adminhttp.Server
	fixed  *admin.Fixed // nil with a coordinator, and without director_mail_servers
	at     []net.Listener
	teams  chan struct{} // has room for one: who changes a team
}

// newAdministration makes the operations' view of this node.
func (n *node) newAdministration() {
	a := &n.administration
	a.teams = make(chan struct{}, 1)
	a.admin = &admin.Admin{
		Node: nodeName(n.set), Log: n.log, Sessions: adminSessions{n.imap, n.placed}, Users: adminUsers{n.parts}, Peers: adminPeers{n.parts},
		Health: n.monitor.Words, Audit: n.parts.auditOperation,
	}
	if n.clustered == nil && n.placed == nil || n.set.Cluster.Backend && n.placed == nil {
		kept := adminACLs{n.parts}
		a.admin.ACLs, a.admin.Shares, a.admin.Teams = kept, kept, kept
	}
	switch {
	case n.clustered != nil:
		c := n.clustered
		a.admin.Cluster = admin.NewShared(c.view, c.coordinator, c.template, cluster.BootTime{})
		if n.set.Cluster.Kind == config.EmbeddedCoordinator {
			a.admin.Ring = &ring{&n.set.Cluster}
		}
	case n.placed != nil:
		settle := n.set.Login.ProxyTimeout
		if n.set.Where("login_proxy_timeout").IsZero() {
			settle = 5 * time.Second // as newDirector has it
		}
		a.fixed = admin.NewFixed(n.placed, a.admin.Sessions, n.log, settle)
		a.admin.Cluster = a.fixed
	}
	a.server = adminhttp.New(adminhttp.Config{Admin: a.admin, Log: n.log, Tokens: func() *adminhttp.Tokens { return n.latest().tokens }})
}

// listenAdmin opens the socket and the port. A socket that nobody has asked for may be
// missing, as where base_dir is not there.
func (n *node) listenAdmin() error {
	a, set := &n.administration, n.set
	if path := set.Admin.Socket; path != "" {
		if !set.Where("base_dir").IsZero() {
			_ = os.Mkdir(filepath.Dir(path), 0o755) // Socket says what is wrong
		}
		ln, err := adminhttp.Socket(path)
		switch {
		case err == nil:
			a.at = append(a.at, ln)
		case !set.Where("admin_socket_path").IsZero():
			return fmt.Errorf("%s: admin_socket_path: %w", set.Where("admin_socket_path"), err)
		default:
			n.log.Warn("there is no admin socket: commands like roost who can't reach this process", "path", path, "error", err)
		}
	}
	if set.Admin.Listen == "" {
		return nil
	}
	var config func() *tls.Config
	if set.TLS.Mode != "no" {
		config = func() *tls.Config { return n.latest().serverTLS }
	}
	ln, err := adminhttp.Listen(set.Admin.Listen, config)
	if err != nil {
		return fmt.Errorf("%s: admin_listen: %w", set.Where("admin_listen"), err)
	}
	a.at = append(a.at, ln)
	return nil
}

// serveAdmin answers administrators until closeAdmin.
func (n *node) serveAdmin() {
	for _, ln := range n.administration.at {
		n.log.Info("administration", "addr", ln.Addr().String())
		n.running.Go(func() {
			if err := n.administration.server.Serve(ln); err != nil && !errors.Is(err, net.ErrClosed) {
				n.log.Error("administrators are no longer served", "addr", ln.Addr().String(), "error", err)
			}
		})
	}
}

func (n *node) closeAdmin(ctx context.Context) error {
	a := &n.administration
	if a.server == nil {
		return nil
	}
	if a.fixed != nil {
		a.fixed.Close()
	}
	err := a.server.Close(ctx)
	for _, ln := range a.at { // those that were not served
		_ = ln.Close()
	}
	return err
}

// readTokens reads who may call the API, and what this node shows to others.
func (n *node) readTokens() error {
	if path := n.set.Admin.TokensFile; path != "" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("%s: admin_tokens_file: %w", n.set.Where("admin_tokens_file"), err)
		}
		defer func() { _ = f.Close() }()
		if n.tokens, err = adminhttp.ParseTokens(f); err != nil {
			return fmt.Errorf("%s: admin_tokens_file: %s: %w", n.set.Where("admin_tokens_file"), path, err)
		}
	}
	var err error
	if path := n.set.Admin.PeerTokenFile; path != "" {
		if n.peerToken, err = readToken(path); err != nil {
			return fmt.Errorf("%s: admin_peer_token_file: %w", n.set.Where("admin_peer_token_file"), err)
		}
	}
	return nil
}

// maxTokenFile bounds a file with one token.
const maxTokenFile = 4 << 10

// readToken reads the one token of a file, which only its owner may read.
func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s: others than its owner can read the token: chmod 600", path)
	case info.Size() > maxTokenFile:
		return "", fmt.Errorf("%s: it holds more than a token", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%s: it does not hold one token", path)
	}
	return token, nil
}

// adminSessions are the sessions of this process, those that have logged in.
type adminSessions struct {
	server *imapserver.Server
	placed *cluster.Adjusted // nil with a coordinator
}

func (s adminSessions) List() iter.Seq[admin.Session] {
	return func(yield func(admin.Session) bool) {
		for i := range s.server.Sessions() {
			if i.User != "" && !yield(s.session(i)) {
				return
			}
		}
	}
}

func (s adminSessions) End(match func(*admin.Session) bool, why *imap.Error) int {
	return s.server.End(func(i imapserver.SessionInfo) bool {
		as := s.session(i)
		return i.User != "" && match(&as)
	}, why)
}

func (s adminSessions) session(i imapserver.SessionInfo) admin.Session {
	as := admin.Session{
		ID: i.ID, User: i.User, Names: i.Names, Proto: "imap", Remote: i.Remote, Peer: i.Peer, TLS: i.TLS, Since: i.Since,
		State: string(i.State), Command: i.Command, Busy: i.Busy, At: i.At,
		Backend: cmp.Or(i.BackendName, i.Backend), BackendUser: i.BackendUser, BytesIn: i.BytesIn, BytesOut: i.BytesOut,
	}
	if at, err := netip.ParseAddrPort(i.Backend); err == nil && s.placed != nil {
		as.Backend = cmp.Or(s.placed.Name(at), as.Backend)
	}
	if i.Acting != i.User {
		as.Acting = i.Acting
	}
	return as
}

// adminUsers knows users as the latest reading of the configuration does.
type adminUsers struct{ *parts }

func (u adminUsers) Normalize(name string) (string, error) {
	return u.latest().auth.Names().Normalize(name)
}

func (u adminUsers) List(ctx context.Context, pattern string) ([]string, error) {
	return u.latest().auth.List(ctx, pattern)
}

// adminPeers asks other nodes with the token of the latest reading.
type adminPeers struct{ *parts }

func (p adminPeers) Ask(ctx context.Context, address string, op *admin.Operation, args admin.Args, tell func(admin.Progress)) (admin.Result, error) {
	n := p.latest()
	if n.peerToken == "" {
		return nil, admin.Unasked("admin_peer_token_file is not set here")
	}
	o := adminhttp.Others{Token: n.peerToken}
	if n.set.TLS.Mode != "no" {
		o.TLS = func(host string) *tls.Config { return tlsconn.Named(n.clientTLS, host, !n.set.TLS.VerifyServers) }
	}
	res, err := o.Ask(ctx, address, op, args, tell)
	told, is := errors.AsType[*adminhttp.Error](err)
	switch {
	case !is:
		return res, err
	case told.Code == string(imap.CodeAuthenticationFailed), told.Code == string(imap.CodeNoPerm):
		return nil, admin.Unasked("it refuses the token of admin_peer_token_file here: " + told.Text)
	}
	return res, admin.FromPeer(told.Code, told.Text, told.Exit)
}

// reloadFrom is what the operation reload does.
func (p *parts) reloadFrom(file string) func(context.Context) (*admin.Reloaded, error) {
	return func(context.Context) (*admin.Reloaded, error) {
		warnings, kept, err := p.reload(file)
		if err != nil {
			return nil, imap.Wrap(imap.CodeCannot, "the configuration was not read again, the old one stays: "+err.Error(), err)
		}
		p.log.Info("configuration was read again", "config", file)
		res := &admin.Reloaded{}
		for _, w := range warnings {
			res.Warnings = append(res.Warnings, w.String())
		}
		for _, w := range kept {
			res.Kept = append(res.Kept, w.String())
		}
		return res, nil
	}
}
