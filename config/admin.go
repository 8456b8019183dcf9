package config

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Admin says how administrators reach this process.
type Admin struct {
	Socket        string // of roost's commands on this machine; empty: none
	Listen        string // HOST:PORT of the HTTP API; empty: none
	TokensFile    string // who may call it
	PeerTokenFile string // holds the token that this node shows to others
}

// DefaultAdminSocket is where the socket is if neither it nor base_dir is set.
const DefaultAdminSocket = "/run/roost/admin.sock"

func adminRows() []group {
	return []group{{"", "Administration", []Row{
		imp("admin_socket_path", String, filepath.Base(DefaultAdminSocket), "Socket for roost's commands on this machine, which only its owner and root can use; below base_dir if it is no absolute path. Empty: none.").
			to(func(s *Settings) any { return &s.Admin.Socket }),
		imp("admin_listen", String, "", "HOST:PORT of the HTTP API, which shows the certificate of ssl_cert. Without ssl it can only be a loopback address. Empty: none.").
			to(func(s *Settings) any { return &s.Admin.Listen }),
		imp("admin_tokens_file", String, "", "File that says who may call the HTTP API: a line NAME HASH read|operate each, as roost token prints it. It is read again on reload.").
			to(func(s *Settings) any { return &s.Admin.TokensFile }),
		imp("admin_peer_token_file", String, "", "File with the token that this node shows to the others' HTTP API, to have them do what is theirs to do: acl, share, team, and what has --all. It is read again on reload.").
			to(func(s *Settings) any { return &s.Admin.PeerTokenFile }),
	}}}
}

// finishAdmin derives where the socket is.
func (s *Settings) finishAdmin() {
	if a := &s.Admin; a.Socket != "" && !filepath.IsAbs(a.Socket) {
		a.Socket = filepath.Join(s.General.BaseDir, a.Socket)
	}
}

func (p *parser) checkAdmin(s *Settings) {
	a := &s.Admin
	if a.Socket != "" && !strings.HasPrefix(a.Socket, "/") {
		p.errorf(s.Where("base_dir"), "base_dir: %q is not an absolute path", s.General.BaseDir)
	}
	if a.Listen == "" {
		return
	}
	pos := s.Where("admin_listen")
	host, _, err := net.SplitHostPort(a.Listen)
	if err != nil {
		p.errorf(pos, "admin_listen: %q is not HOST:PORT", a.Listen)
		return
	}
	ip, _ := netip.ParseAddr(host)
	if s.TLS.Mode == "no" && host != "localhost" && !ip.IsLoopback() {
		p.errorf(pos, "admin_listen: tokens would cross the network as they are: set ssl and ssl_cert, or a loopback address")
	}
	if a.TokensFile == "" {
		p.errorf(pos, "admin_listen: admin_tokens_file must say who may call it")
	}
}

// AdminAddress is where other nodes reach the HTTP API: admin_listen, with the host of
// cluster_address, or this machine's name, for every address. Empty if there is none.
func (s *Settings) AdminAddress() string {
	host, port, err := net.SplitHostPort(s.Admin.Listen)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		return s.Admin.Listen
	}
	if host, _, err = net.SplitHostPort(s.Cluster.Address); err != nil {
		host = strings.Trim(s.Cluster.Address, "[]")
	}
	if host == "" {
		host, _ = os.Hostname()
	}
	return net.JoinHostPort(host, port)
}
