package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Cluster says how this node works together with others.
type Cluster struct {
	Coordinator string // as written
	Kind        CoordinatorKind
	Endpoints   []string // HOST:PORT of the coordinator's members
	Prefix      string   // before all keys

	Roles             []string // as written
	Director, Backend bool     // what this node is

	Name, Address, Tag        string
	LeaseTTL, StorageTimeout  time.Duration
	CommitCheck               string // coordinator or clock
	Delegation                string // auto, required or no
	FenceCommand              string
	User, Password            string
	CAFile, CertFile, KeyFile string
	DataDir, Witness, Member  string // of an embedded member
	ClientPort, PeerPort      int
	MemberHosts               []string // of an embedded coordinator: director_servers and the witness
}

// CoordinatorKind says what a coordinator is.
type CoordinatorKind int

// The kinds. With NoCoordinator placement is fixed.
const (
	NoCoordinator CoordinatorKind = iota
	EtcdCoordinator
	EmbeddedCoordinator
)

// defaultPrefix is before the keys of clusters that name none.
const defaultPrefix = "/roost/"

// finishCluster derives what this node is, and where its coordinator is.
func (p *parser) finishCluster(s *Settings) {
	c := &s.Cluster
	if err := c.parse(s.Director.Servers); err != nil {
		p.errorf(s.Where("cluster"), "cluster: %v", err)
	}
	listed := len(s.Director.MailServers) > 0
	c.Director = listed || c.Kind != NoCoordinator && len(s.Director.Servers) > 0
	c.Backend = !c.Director
	if len(c.Roles) > 0 {
		c.Director, c.Backend = slices.Contains(c.Roles, "director"), slices.Contains(c.Roles, "backend")
	}
	s.Director.Enabled = c.Director
}

func (c *Cluster) parse(directors []string) error {
	c.Prefix = defaultPrefix
	rest, isEtcd := strings.CutPrefix(c.Coordinator, "etcd://")
	switch {
	case c.Coordinator == "":
		return nil
	case c.Coordinator == "embedded":
		c.Kind = EmbeddedCoordinator
		return c.members(directors)
	case !isEtcd:
		return errors.New("etcd://HOST[:PORT][,HOST[:PORT]...][/PREFIX] or embedded")
	}
	c.Kind = EtcdCoordinator
	hosts, prefix, hasPrefix := strings.Cut(rest, "/")
	if hasPrefix && prefix != "" {
		c.Prefix = "/" + strings.Trim(prefix, "/") + "/"
	}
	for _, host := range strings.Split(hosts, ",") {
		at, err := withPort(host, "2379")
		if err != nil {
			return err
		}
		c.Endpoints = append(c.Endpoints, at)
	}
	return nil
}

// members are the hosts whose processes are the coordinator.
func (c *Cluster) members(directors []string) error {
	for _, host := range directors {
		if !slices.Contains(c.MemberHosts, host) {
			c.MemberHosts = append(c.MemberHosts, host)
		}
	}
	if c.Witness != "" && !slices.Contains(c.MemberHosts, c.Witness) {
		c.MemberHosts = append(c.MemberHosts, c.Witness)
	}
	for _, host := range c.MemberHosts {
		c.Endpoints = append(c.Endpoints, net.JoinHostPort(strings.Trim(host, "[]"), fmt.Sprint(c.ClientPort)))
	}
	switch n := len(c.MemberHosts); {
	case n == 0:
		return errors.New("embedded: director_servers names the members, and is empty")
	case n%2 == 0:
		return fmt.Errorf("embedded: %d members: of an even number one more may fail than must not; name a backend as cluster_witness, or one director more", n)
	}
	return nil
}

// withPort is HOST[:PORT] with a port.
func withPort(host, port string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), port), nil
	}
	h, p, err := net.SplitHostPort(host)
	switch {
	case err == nil && h != "" && p != "":
		return host, nil
	case host == "" || strings.Contains(host, ":"):
		return "", fmt.Errorf("%q is not HOST or HOST:PORT", host)
	}
	return net.JoinHostPort(host, port), nil
}

// checkCluster looks at what a node with a coordinator needs.
func (p *parser) checkCluster(s *Settings) {
	c := &s.Cluster
	for _, role := range c.Roles {
		if role != "director" && role != "backend" {
			p.errorf(s.Where("cluster_role"), "cluster_role: %q is neither director nor backend", role)
		}
	}
	if strings.ContainsAny(c.Tag, "/@ ") {
		p.errorf(s.Where("cluster_tag"), "cluster_tag: no slash, @ or space can be in it")
	}
	if strings.ContainsAny(c.Name, " /") {
		p.errorf(s.Where("cluster_name"), "cluster_name: no slash or space can be in it")
	}
	if c.Address != "" {
		if _, err := withPort(c.Address, "143"); err != nil {
			p.errorf(s.Where("cluster_address"), "cluster_address: %v", err)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") || c.CertFile != "" && c.CAFile == "" {
		p.errorf(s.Where("cluster_ssl_cert"), "cluster_ssl_cert: it needs cluster_ssl_key and cluster_ssl_ca beside it")
	}
	if c.Kind == NoCoordinator {
		if c.Delegation == "required" {
			p.errorf(s.Where("cluster_delegation"), "cluster_delegation = required: without cluster there are no keys to sign with")
		}
		return
	}
	if c.LeaseTTL < 3*time.Second || c.LeaseTTL > time.Minute {
		p.errorf(s.Where("cluster_lease_ttl"), "cluster_lease_ttl: 3 seconds to a minute")
	}
	if c.StorageTimeout < time.Second {
		p.errorf(s.Where("cluster_storage_timeout"), "cluster_storage_timeout: at least a second")
	}
	if c.Backend && len(s.Mail.Volumes) == 0 {
		p.errorf(s.Where("cluster"), "cluster: mail_volume must be set: a filesystem that is not mounted must never look like empty mailboxes")
	}
	if c.Kind == EmbeddedCoordinator && (c.CAFile == "" || c.CertFile == "") && !slices.Equal(c.MemberHosts, []string{"127.0.0.1"}) {
		p.errorf(s.Where("cluster"), "cluster: embedded: cluster_ssl_ca, cluster_ssl_cert and cluster_ssl_key must be set: whoever reaches a member's port could give users to any backend")
	}
	if c.Kind == EtcdCoordinator && c.CAFile == "" {
		p.warnf(s.Where("cluster"), "cluster: connections to the coordinator are not encrypted: whoever reaches it can give users to any backend; set cluster_ssl_ca")
	}
}
